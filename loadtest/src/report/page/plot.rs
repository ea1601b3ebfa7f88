//! One plot: inline SVG that reads well without any script, and its values as JSON for the read-out under the pointer.

use std::fmt::{self, Display, Formatter};

use super::axis::Axis;
use super::escape::{Escaped, JsonString};

/// A plot, ready to be written into the page. Colours are classes of the style sheet.
#[derive(Debug)]
pub struct Plot {
    /// What is seen.
    pub title: String,
    /// A few words beside it; may be empty.
    pub note: String,
    /// Left to right.
    pub x: Axis,
    /// Bottom to top.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
    /// Vertical lines: moments at which something was done to the server.
    pub marks: Vec<Guide>,
    /// Horizontal lines: bounds.
    pub guides: Vec<Guide>,
    /// Over the whole width of the page, or half of it.
    pub wide: bool,
}

/// A line of a plot.
#[derive(Debug)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Class of the style sheet: colour and dashes.
    pub class: &'static str,
    /// How its points are drawn.
    pub shape: Shape,
    /// Points with rising x. A y that is not finite makes a gap.
    pub points: Vec<(f64, f64)>,
}

/// How points are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A line through them.
    Line,
    /// A line, and the space below it filled.
    Area,
    /// Each by itself, filled.
    Dots,
    /// Each by itself, hollow.
    Rings,
}

/// A line across the plot.
#[derive(Debug, Clone)]
pub struct Guide {
    /// Where.
    pub at: f64,
    /// What is written at it.
    pub text: String,
}

/// Where the plot's own area lies within the picture, in pixels.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    width: f64,
    height: f64,
}

/// Labels of marks need this much room in pixels; those that have less are joined.
const MARK_ROOM: f64 = 24.0;

impl Plot {
    fn frame(&self) -> Frame {
        let (width, height) = if self.wide {
            (1080.0, 250.0)
        } else {
            (530.0, 200.0)
        };
        Frame {
            left: 58.0,
            right: width - 14.0,
            top: if self.marks.is_empty() { 10.0 } else { 22.0 },
            bottom: height - 24.0,
            width,
            height,
        }
    }

    fn grid(&self, out: &mut Formatter<'_>, frame: &Frame) -> fmt::Result {
        for tick in self.y.ticks(if self.wide { 5.0 } else { 4.0 }) {
            let y = frame.y(&self.y, tick.value);
            write!(
                out,
                "<path class=grid d=\"M{:.0} {y:.1}H{:.0}\"/><text class=ty x={:.0} y={:.1}>{}</text>",
                frame.left,
                frame.right,
                frame.left - 7.0,
                y + 3.5,
                Escaped(&tick.text)
            )?;
        }
        for tick in self.x.ticks(if self.wide { 10.0 } else { 5.0 }) {
            let x = frame.x(&self.x, tick.value);
            write!(
                out,
                "<path class=tick d=\"M{x:.1} {:.0}v4\"/><text class=tx x={x:.1} y={:.0}>{}</text>",
                frame.bottom,
                frame.bottom + 17.0,
                Escaped(&tick.text)
            )?;
        }
        write!(
            out,
            "<path class=axis d=\"M{:.0} {:.0}H{:.0}\"/>",
            frame.left, frame.bottom, frame.right
        )
    }

    fn lines_across(&self, out: &mut Formatter<'_>, frame: &Frame) -> fmt::Result {
        for guide in &self.guides {
            let y = frame.y(&self.y, guide.at);
            write!(
                out,
                "<path class=bound d=\"M{:.0} {y:.1}H{:.0}\"/><text class=tb x={:.0} y={:.1}>{}</text>",
                frame.left,
                frame.right,
                frame.right - 4.0,
                y - 5.0,
                Escaped(&guide.text)
            )?;
        }
        for mark in &self.marks {
            let x = frame.x(&self.x, mark.at);
            write!(
                out,
                "<path class=mark d=\"M{x:.1} {:.0}V{:.0}\"/>",
                frame.top - 4.0,
                frame.bottom
            )?;
        }
        for (x, text) in self.mark_labels(frame) {
            write!(
                out,
                "<text class=tm x={x:.1} y={:.0}>{}</text>",
                frame.top - 9.0,
                Escaped(&text)
            )?;
        }
        Ok(())
    }

    /// Labels that would overlap are joined: `2–5`.
    fn mark_labels(&self, frame: &Frame) -> Vec<(f64, String)> {
        let mut labels: Vec<(f64, f64, String, String)> = Vec::new();
        for mark in &self.marks {
            let x = frame.x(&self.x, mark.at);
            match labels.last_mut() {
                Some((_, last, _, end)) if x - *last < MARK_ROOM => {
                    *last = x;
                    end.clone_from(&mark.text);
                }
                _ => labels.push((x, x, mark.text.clone(), String::new())),
            }
        }
        labels
            .into_iter()
            .map(|(first, last, begin, end)| {
                let text = if end.is_empty() {
                    begin
                } else {
                    format!("{begin}–{end}")
                };
                (f64::midpoint(first, last), text)
            })
            .collect()
    }

    fn legend(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.series.len() < 2 {
            return Ok(());
        }
        write!(out, "<p class=legend>")?;
        for series in &self.series {
            write!(
                out,
                "<span><svg class=\"key {}\" viewBox=\"0 0 22 8\">",
                series.class
            )?;
            match series.shape {
                Shape::Line => write!(out, "<path class=line d=\"M1 4H21\"/>")?,
                Shape::Area => write!(
                    out,
                    "<path class=fill d=\"M1 1H21V8H1z\"/><path class=line d=\"M1 1H21\"/>"
                )?,
                Shape::Dots => write!(out, "<circle class=dot cx=11 cy=4 r=3.2 />")?,
                Shape::Rings => write!(out, "<circle class=ring cx=11 cy=4 r=3.2 />")?,
            }
            write!(out, "</svg>{}</span>", Escaped(&series.name))?;
        }
        write!(out, "</p>")
    }

    fn json(&self, out: &mut Formatter<'_>, frame: &Frame) -> fmt::Result {
        write!(
            out,
            "<script type=\"application/json\">{{\"left\":{:.0},\"right\":{:.0},\"top\":{:.0},\"bottom\":{:.0},\"low\":{},\"high\":{},\"x\":\"{:?}\",\"y\":\"{:?}\",\"series\":[",
            frame.left,
            frame.right,
            frame.top,
            frame.bottom,
            self.x.low,
            self.x.high,
            self.x.unit,
            self.y.unit
        )?;
        let mut comma = "";
        for (index, series) in self.series.iter().enumerate() {
            write!(
                out,
                "{comma}{{\"name\":{},\"class\":\"{}\"",
                JsonString(&series.name),
                series.class
            )?;
            // Most plots have one x for all lines: it is written once.
            if index == 0 || !series.same_x(&self.series[0]) {
                list(out, "at", series.points.iter().map(|(x, _)| *x))?;
            }
            list(out, "values", series.points.iter().map(|(_, y)| *y))?;
            write!(out, "}}")?;
            comma = ",";
        }
        write!(out, "]}}</script>")
    }
}

impl Display for Plot {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let frame = self.frame();
        write!(
            out,
            "<figure class={}><figcaption><b>{}</b> <span>{}</span></figcaption><div class=plot><svg viewBox=\"0 0 {:.0} {:.0}\" role=img><title>{}</title>",
            if self.wide { "wide" } else { "half" },
            Escaped(&self.title),
            Escaped(&self.note),
            frame.width,
            frame.height,
            Escaped(&self.title)
        )?;
        self.grid(out, &frame)?;
        self.lines_across(out, &frame)?;
        for series in &self.series {
            series.draw(out, &frame, &self.x, &self.y)?;
        }
        write!(
            out,
            "<path class=cursor hidden d=\"M0 {:.0}V{:.0}\"/></svg></div>",
            frame.top, frame.bottom
        )?;
        self.legend(out)?;
        self.json(out, &frame)?;
        writeln!(out, "</figure>")
    }
}

impl Series {
    /// A line.
    pub fn line(name: impl Into<String>, class: &'static str, points: Vec<(f64, f64)>) -> Self {
        Self::drawn(Shape::Line, name, class, points)
    }

    /// Points drawn in some way.
    pub fn drawn(
        shape: Shape,
        name: impl Into<String>,
        class: &'static str,
        points: Vec<(f64, f64)>,
    ) -> Self {
        Self {
            name: name.into(),
            class,
            shape,
            points,
        }
    }

    fn same_x(&self, other: &Self) -> bool {
        self.points.len() == other.points.len()
            && self
                .points
                .iter()
                .zip(&other.points)
                .all(|(mine, its)| mine.0 == its.0)
    }

    fn draw(&self, out: &mut Formatter<'_>, frame: &Frame, x: &Axis, y: &Axis) -> fmt::Result {
        match self.shape {
            Shape::Dots | Shape::Rings => {
                let class = if self.shape == Shape::Dots { "dot" } else { "ring" };
                for (at, value) in self.points.iter().filter(|(_, value)| value.is_finite()) {
                    let (x, y) = (frame.x(x, *at), frame.y(y, *value));
                    write!(
                        out,
                        "<circle class=\"{class} {}\" cx={x:.1} cy={y:.1} r=4 />",
                        self.class
                    )?;
                }
                Ok(())
            }
            Shape::Line | Shape::Area => {
                for run in self.points.split(|(_, value)| !value.is_finite()) {
                    self.run(out, run, frame, x, y)?;
                }
                Ok(())
            }
        }
    }

    /// A stretch without a gap. One point alone is a line of no length, which its round ends make a dot.
    fn run(
        &self,
        out: &mut Formatter<'_>,
        run: &[(f64, f64)],
        frame: &Frame,
        x: &Axis,
        y: &Axis,
    ) -> fmt::Result {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return Ok(());
        };
        let path = Path { run, frame, x, y };
        if self.shape == Shape::Area {
            write!(
                out,
                "<path class=\"fill {}\" d=\"M{:.1} {:.0}L{path}L{:.1} {:.0}z\"/>",
                self.class,
                frame.x(x, first.0),
                frame.bottom,
                frame.x(x, last.0),
                frame.bottom
            )?;
        }
        let dot = if run.len() == 1 { "h0" } else { "" };
        write!(out, "<path class=\"line {}\" d=\"M{path}{dot}\"/>", self.class)
    }
}

/// The points of a stretch as SVG writes them.
struct Path<'a> {
    run: &'a [(f64, f64)],
    frame: &'a Frame,
    x: &'a Axis,
    y: &'a Axis,
}

impl Display for Path<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for (at, value) in self.run {
            let (x, y) = (self.frame.x(self.x, *at), self.frame.y(self.y, *value));
            write!(out, "{space}{x:.1} {y:.1}")?;
            space = " ";
        }
        Ok(())
    }
}

impl Frame {
    fn x(&self, axis: &Axis, value: f64) -> f64 {
        self.left + axis.place(value) * (self.right - self.left)
    }

    fn y(&self, axis: &Axis, value: f64) -> f64 {
        self.bottom - axis.place(value) * (self.bottom - self.top)
    }
}

/// A member with numbers: four significant digits, `null` for a gap.
fn list(out: &mut Formatter<'_>, name: &str, values: impl Iterator<Item = f64>) -> fmt::Result {
    write!(out, ",\"{name}\":[")?;
    let mut comma = "";
    for value in values {
        match value {
            value if !value.is_finite() => write!(out, "{comma}null")?,
            value if value.abs() >= 1_000.0 || value == value.trunc() => write!(out, "{comma}{value:.0}")?,
            value => write!(out, "{comma}{value:.3}")?,
        }
        comma = ",";
    }
    write!(out, "]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::axis::Unit;

    fn plot(marks: &[f64]) -> Plot {
        Plot {
            title: "a <title>".into(),
            note: String::new(),
            x: Axis::exact(Unit::Moment, 0.0, 100.0),
            y: Axis::from_zero(Unit::Number, [10.0].into_iter()),
            series: vec![
                Series::line("a", "c0", vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)]),
                Series::line("b", "c1", vec![(0.0, 1.0), (1.0, 2.0), (2.0, 2.5)]),
            ],
            marks: marks
                .iter()
                .enumerate()
                .map(|(index, at)| Guide {
                    at: *at,
                    text: (index + 1).to_string(),
                })
                .collect(),
            guides: Vec::new(),
            wide: false,
        }
    }

    #[test]
    fn a_gap_is_a_gap_in_picture_and_values() {
        let html = plot(&[]).to_string();
        assert!(html.contains("a &lt;title&gt;"));
        assert_eq!(
            html.matches("<path class=\"line c0\"").count(),
            2,
            "two stretches"
        );
        assert!(html.contains("\"values\":[1,null,3]"));
        let json = html
            .split("application/json\">")
            .nth(1)
            .and_then(|rest| rest.split("</script>").next());
        let json: serde_json::Value = serde_json::from_str(json.expect("embedded")).expect("valid JSON");
        assert!(
            json["series"][1]["at"].is_null(),
            "the x they share is written once"
        );
        assert_eq!(json["series"][1]["values"][2], 2.5);
    }

    #[test]
    fn labels_of_marks_never_overlap() {
        let plot = plot(&[10.0, 11.0, 12.0, 60.0]);
        let labels = plot.mark_labels(&plot.frame());
        let texts: Vec<&str> = labels.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["1–3", "4"]);
    }
}
