"""smtplib, imaplib and poplib against a node: send, read, search, flag, move, append, delete."""

import email
import email.message
import email.policy
import imaplib
import poplib
import smtplib
import ssl
import sys

HOST = sys.argv[1]
TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE
USER, PASSWORD = "bob@hamburger.edu", "hungry"


def letter(subject):
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = "alice@hamburger.edu", USER, subject
    message.set_content("Crêpes?\n.dot\n")
    message.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="bytes.bin")
    return message


def send():
    with smtplib.SMTP(HOST, 2587, timeout=20) as smtp:
        smtp.starttls(context=TLS)
        smtp.login("alice@hamburger.edu", "fries-please")
        smtp.send_message(letter("from smtplib, one"))
        smtp.send_message(letter("from smtplib, two"))
    with smtplib.SMTP_SSL(HOST, 2465, timeout=20, context=TLS) as smtp:
        try:
            smtp.login("alice@hamburger.edu", "wrong")
        except smtplib.SMTPAuthenticationError as refusal:
            assert refusal.smtp_code == 535, refusal
        else:
            raise AssertionError("a wrong password was accepted")


def read_imap():
    imap = imaplib.IMAP4_SSL(HOST, 2993, ssl_context=TLS, timeout=20)
    imap.login(USER, PASSWORD)
    assert imap.select("INBOX")[1] == [b"2"], "two messages arrived"
    found = imap.search(None, "SUBJECT", '"one"')[1]
    assert found == [b"1"], found
    raw = imap.fetch("1", "(RFC822)")[1][0][1]
    message = email.message_from_bytes(raw, policy=email.policy.default)
    parts = list(message.walk())
    text = parts[1].get_content().replace("\r\n", "\n")
    assert text == "Crêpes?\n.dot\n", text
    assert parts[2].get_content() == bytes(range(256)) * 40
    only_part = imap.fetch("1", "(BODY.PEEK[2.MIME])")[1][0][1]
    assert b'filename="bytes.bin"' in only_part, only_part
    imap.create("Recipes")
    imap.copy("1", "Recipes")
    imap.store("1", "+FLAGS", r"(\Flagged $Tasty)")
    flags = imap.fetch("1", "(FLAGS)")[1][0]
    assert b"\\Flagged" in flags and b"$Tasty" in flags, flags
    imap.append("Recipes", r"(\Seen)", imaplib.Time2Internaldate(1_700_000_000), bytes(letter("appended")))
    assert imap.select("Recipes")[1] == [b"2"]
    assert imap.uid("SEARCH", "BEFORE", "1-Jan-2024")[1] == [b"2"]
    imap.logout()


def read_pop3():
    pop3 = poplib.POP3(HOST, 2110, timeout=20)
    pop3.stls(TLS)
    pop3.user(USER)
    pop3.pass_(PASSWORD)
    assert pop3.stat()[0] == 2
    assert len({line.split()[1] for line in pop3.uidl()[1]}) == 2
    assert any(b"from smtplib, one" in line for line in pop3.top(1, 0)[1])
    for number in (1, 2):
        lines = pop3.retr(number)[1]
        assert any(b"octet-stream" in line for line in lines)
        pop3.dele(number)
    pop3.quit()


send()
read_imap()
read_pop3()
print("all well")
