// nodemailer, imapflow and node-pop3 against a node: send; list, fetch, append, move; UIDL.

import assert from "node:assert/strict";
import { ImapFlow } from "imapflow";
import nodemailer from "nodemailer";
import Pop3Command from "node-pop3";

const host = process.argv[2];
const tls = { rejectUnauthorized: false };
const bob = { user: "bob@hamburger.edu", pass: "hungry" };

async function send() {
  const transport = nodemailer.createTransport({
    host, port: 2587, secure: false, requireTLS: true, tls, auth: { user: "alice@hamburger.edu", pass: "fries-please" },
  });
  const info = await transport.sendMail({
    from: "Alice <alice@hamburger.edu>", to: bob.user, subject: "from nodemailer", text: "Crêpes?", html: "<b>Crêpes?</b>",
    attachments: [{ filename: "menu.txt", content: "ketchup" }],
  });
  assert.deepEqual(info.accepted, [bob.user]);
  transport.close();
}

async function readImap() {
  const imap = new ImapFlow({ host, port: 2993, secure: true, tls, auth: bob, logger: false });
  await imap.connect();
  const names = (await imap.list()).map((folder) => folder.path);
  assert.ok(names.includes("INBOX"), names.join());
  await imap.mailboxCreate("Archive/2026");
  const lock = await imap.getMailboxLock("INBOX");
  try {
    const message = await imap.fetchOne("*", { envelope: true, bodyStructure: true, source: true, flags: true });
    assert.equal(message.envelope.subject, "from nodemailer");
    assert.equal(message.bodyStructure.childNodes.length, 2);
    assert.ok(message.source.includes("menu.txt"));
    const { content } = await imap.download("*", "2");
    const pieces = [];
    for await (const piece of content) pieces.push(piece);
    assert.equal(Buffer.concat(pieces).toString(), "ketchup");
    await imap.append("INBOX", "Subject: appended\r\n\r\nhello\r\n", ["\\Seen"]);
    assert.deepEqual(await imap.search({ subject: "appended" }, { uid: true }), [2]);
    const moved = await imap.messageMove("2", "Archive/2026", { uid: true });
    assert.equal(moved.uidMap.size, 1);
  } finally {
    lock.release();
  }
  assert.equal((await imap.status("Archive/2026", { messages: true })).messages, 1);
  await imap.logout();
}

async function readPop3() {
  const pop3 = new Pop3Command({ host, port: 2995, tls: true, tlsOptions: tls, user: bob.user, password: bob.pass });
  const list = await pop3.UIDL();
  assert.equal(list.length, 1);
  assert.ok((await pop3.RETR(1)).includes("from nodemailer"));
  await pop3.QUIT();
}

await send();
await readImap();
await readPop3();
console.log("all well");
