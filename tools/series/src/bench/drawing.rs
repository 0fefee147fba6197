// SPDX-License-Identifier: GPL-2.0
//! Rectangles, lines and words, written as SVG and, for those who show no SVG, as PNG.
//!
//! The letters of the PNG are a bitmap font of a crate: what comes out depends on no font of the machine.

use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::ascii::{FONT_9X15, FONT_9X18_BOLD, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::primitives::{Line, Primitive, PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Alignment, Text};
use std::convert::Infallible;
use std::fmt::Write;

/// Pixels of the PNG for one unit of the drawing.
const SCALE: f64 = 1.5;

pub const BLACK: Colour = Colour(0x22, 0x22, 0x22);
pub const GREY: Colour = Colour(0xd8, 0xdd, 0xe2);

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colour(pub u8, pub u8, pub u8);

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Style {
    Normal,
    Small,
    Heading,
}

/// Where the given point of a word is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Anchor {
    Start,
    End,
}

#[derive(Debug)]
enum Shape {
    Rectangle {
        x: f64,
        y: f64,
        width: f64,
        height: f64,
        colour: Colour,
    },
    Line {
        points: Vec<(f64, f64)>,
        width: f64,
        colour: Colour,
    },
    Word {
        x: f64,
        y: f64,
        text: String,
        style: Style,
        anchor: Anchor,
    },
}

/// A drawing, from the top left corner.
#[derive(Debug, Default)]
pub struct Drawing {
    width: f64,
    height: f64,
    shapes: Vec<Shape>,
}

impl Drawing {
    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, colour: Colour) {
        self.grow(x + width, y + height);
        self.shapes.push(Shape::Rectangle {
            x,
            y,
            width,
            height,
            colour,
        });
    }

    pub fn line(&mut self, points: Vec<(f64, f64)>, width: f64, colour: Colour) {
        for &(x, y) in &points {
            self.grow(x, y);
        }
        self.shapes.push(Shape::Line {
            points,
            width,
            colour,
        });
    }

    /// A word whose base line is at `y`.
    pub fn word(&mut self, x: f64, y: f64, text: impl Into<String>, style: Style, anchor: Anchor) {
        let text = text.into();
        let long = text.len() as f64 * 7.0;
        self.grow(
            match anchor {
                Anchor::Start => x + long,
                Anchor::End => x,
            },
            y,
        );
        self.shapes.push(Shape::Word {
            x,
            y,
            text,
            style,
            anchor,
        });
    }

    fn grow(&mut self, x: f64, y: f64) {
        self.width = self.width.max(x);
        self.height = self.height.max(y);
    }

    fn size(&self) -> (f64, f64) {
        (self.width + 12.0, self.height + 12.0)
    }

    pub fn svg(&self) -> String {
        let (width, height) = self.size();
        let mut text = format!(
            "<!-- SPDX-License-Identifier: GPL-2.0 -->\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             font-family=\"sans-serif\" font-size=\"13\" fill=\"{}\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
            hex(BLACK)
        );
        for shape in &self.shapes {
            let _ = match shape {
                Shape::Rectangle {
                    x,
                    y,
                    width,
                    height,
                    colour,
                } => writeln!(
                    text,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{}\"/>",
                    hex(*colour)
                ),
                Shape::Line {
                    points,
                    width,
                    colour,
                } => {
                    let points: Vec<String> = points
                        .iter()
                        .map(|(x, y)| format!("{x:.1},{y:.1}"))
                        .collect();
                    writeln!(
                        text,
                        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"/>",
                        points.join(" "),
                        hex(*colour)
                    )
                }
                Shape::Word {
                    x,
                    y,
                    text: word,
                    style,
                    anchor,
                } => {
                    let style = match style {
                        Style::Normal => "",
                        Style::Small => " font-size=\"11\"",
                        Style::Heading => " font-weight=\"bold\"",
                    };
                    let anchor = match anchor {
                        Anchor::Start => "",
                        Anchor::End => " text-anchor=\"end\"",
                    };
                    writeln!(
                        text,
                        "<text x=\"{x:.1}\" y=\"{y:.1}\"{style}{anchor}>{word}</text>"
                    )
                }
            };
        }
        text + "</svg>\n"
    }

    pub fn png(&self) -> Vec<u8> {
        let (width, height) = self.size();
        let mut canvas = Canvas::new((width * SCALE) as u32, (height * SCALE) as u32);
        for shape in &self.shapes {
            // Nothing can go wrong on a canvas in memory.
            let Ok(()) = shape.draw(&mut canvas);
        }
        canvas.encode()
    }
}

fn at(x: f64, y: f64) -> Point {
    Point::new((x * SCALE).round() as i32, (y * SCALE).round() as i32)
}

fn rgb(colour: Colour) -> Rgb888 {
    Rgb888::new(colour.0, colour.1, colour.2)
}

fn hex(colour: Colour) -> String {
    format!("#{:02x}{:02x}{:02x}", colour.0, colour.1, colour.2)
}

impl Shape {
    fn draw(&self, canvas: &mut Canvas) -> Result<(), Infallible> {
        match self {
            Shape::Rectangle {
                x,
                y,
                width,
                height,
                colour,
            } => {
                let (from, to) = (at(*x, *y), at(x + width, y + height));
                let size = Size::new((to.x - from.x) as u32, (to.y - from.y) as u32);
                Rectangle::new(from, size)
                    .into_styled(PrimitiveStyle::with_fill(rgb(*colour)))
                    .draw(canvas)
            }
            Shape::Line {
                points,
                width,
                colour,
            } => {
                let style =
                    PrimitiveStyle::with_stroke(rgb(*colour), (width * SCALE).round() as u32);
                for pair in points.windows(2) {
                    Line::new(at(pair[0].0, pair[0].1), at(pair[1].0, pair[1].1))
                        .into_styled(style)
                        .draw(canvas)?;
                }
                Ok(())
            }
            Shape::Word {
                x,
                y,
                text,
                style,
                anchor,
            } => {
                let font: &MonoFont<'_> = match style {
                    Style::Normal => &FONT_10X20,
                    Style::Small => &FONT_9X15,
                    Style::Heading => &FONT_9X18_BOLD,
                };
                let alignment = match anchor {
                    Anchor::Start => Alignment::Left,
                    Anchor::End => Alignment::Right,
                };
                let style = MonoTextStyle::new(font, rgb(BLACK));
                Text::with_alignment(text, at(*x, *y), style, alignment).draw(canvas)?;
                Ok(())
            }
        }
    }
}

/// Pixels, white at first.
struct Canvas {
    width: u32,
    height: u32,
    bytes: Vec<u8>,
}

impl Canvas {
    fn new(width: u32, height: u32) -> Self {
        Canvas {
            width,
            height,
            bytes: vec![0xff; width as usize * height as usize * 3],
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.bytes))
            .expect("memory takes what is written");
        file
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(point, colour) in pixels {
            let inside = |value: i32, end: u32| u32::try_from(value).ok().filter(|v| *v < end);
            if let (Some(x), Some(y)) = (inside(point.x, self.width), inside(point.y, self.height))
            {
                let start = (y as usize * self.width as usize + x as usize) * 3;
                self.bytes[start..start + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(png: &[u8]) -> (u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png))
            .read_info()
            .unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        (info.width, bytes)
    }

    #[test]
    fn both_files_show_the_same() {
        let mut drawing = Drawing::default();
        drawing.rectangle(10.0, 10.0, 20.0, 10.0, Colour(255, 0, 0));
        drawing.line(vec![(10.0, 40.0), (30.0, 40.0)], 2.0, Colour(0, 0, 255));
        drawing.word(50.0, 20.0, "word", Style::Normal, Anchor::Start);

        let svg = drawing.svg();
        assert!(svg.starts_with("<!-- SPDX") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("fill=\"#ff0000\"") && svg.contains(">word</text>"));
        assert!(svg.contains("points=\"10.0,40.0 30.0,40.0\""));

        let (width, bytes) = pixels(&drawing.png());
        let pixel = |x: f64, y: f64| {
            let start = ((y * SCALE) as usize * width as usize + (x * SCALE) as usize) * 3;
            (bytes[start], bytes[start + 1], bytes[start + 2])
        };
        assert_eq!(pixel(20.0, 15.0), (255, 0, 0));
        assert_eq!(pixel(20.0, 40.0), (0, 0, 255));
        assert_eq!(pixel(40.0, 30.0), (255, 255, 255));
        let dark = bytes
            .chunks(3)
            .filter(|rgb| rgb == &[0x22, 0x22, 0x22])
            .count();
        assert!(dark > 50, "the word has {dark} pixels");
    }

    #[test]
    fn what_leaves_the_canvas_is_cut_off() {
        let mut drawing = Drawing::default();
        drawing.word(-30.0, 5.0, "word", Style::Heading, Anchor::End);
        assert!(!drawing.png().is_empty());
    }
}
