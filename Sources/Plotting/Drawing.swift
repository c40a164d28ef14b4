import Contracts

/// A colour, opaque.
public struct Colour: Sendable, Hashable {
    public let red: UInt8
    public let green: UInt8
    public let blue: UInt8

    /// - Parameter hex: `0xRRGGBB`.
    public init(_ hex: UInt32) { (red, green, blue) = (UInt8(hex >> 16 & 255), UInt8(hex >> 8 & 255), UInt8(hex & 255)) }

    var text: String { "#" + hexText([red, green, blue]) }

    static let white = Colour(0xFFFFFF)
    static let ink = Colour(0x22272E)
    static let faint = Colour(0x59636E)
    static let grid = Colour(0xE3E7EB)
    static let axis = Colour(0x8C959F)

    /// Those that are not named.
    static let background = Colour(0xD0D7DE)

    /// Ten that can be told apart, by colour-blind people too as far as ten can.
    static let palette = [0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00, 0x56B4E9, 0x6A3D9A, 0x8C510A, 0x4D4D4D, 0xB2182B].map {
        Colour($0)
    }

    /// From pale green (0) over blue to dark violet (1): darker all the way, so that it can be read without seeing colours, and on white.
    static func ramp(_ share: Double) -> Colour {
        let stops: [(Double, Double, Double)] = [(165, 219, 54), (74, 193, 109), (31, 146, 140), (54, 92, 141), (68, 1, 84)]
        let place = min(max(share, 0), 1) * Double(stops.count - 1)
        let i = min(Int(saturating: place), stops.count - 2)
        let (a, b, t) = (stops[i], stops[i + 1], place - Double(i))
        func mix(_ x: Double, _ y: Double) -> UInt32 { UInt32(saturating: (x + (y - x) * t).rounded()) }
        return Colour(mix(a.0, b.0) << 16 | mix(a.1, b.1) << 8 | mix(a.2, b.2))
    }
}

/// A place in a picture: from the left, from the top.
public struct Point: Sendable, Hashable {
    public let x: Double
    public let y: Double
    public init(_ x: Double, _ y: Double) { (self.x, self.y) = (x, y) }
}

public enum Shape: Sendable {
    case line([Point], Colour, width: Double, isDashed: Bool)
    case disc(Point, radius: Double, Colour)
    case text(String, at: Point, size: Double, Colour, anchor: Anchor, isUpright: Bool)
    /// White behind a text, so that lines do not strike it through.
    case halo(String, at: Point, size: Double, anchor: Anchor)

    /// Which part of a text stands at its point.
    public enum Anchor: String, Sendable { case start, middle, end }
}

/// A picture of lines, discs and words on white, that can be written as SVG or PNG.
public struct Drawing: Sendable {
    /// In pixels.
    public let width: Int
    public let height: Int
    public internal(set) var shapes: [Shape] = []

    /// How long the parts of a dashed line and the gaps between them are, in widths of the line.
    static let dash = (on: 5.0, off: 3.5)

    public init(width: Int, height: Int) { (self.width, self.height) = (width, height) }

    /// Whether PNG has strokes for all letters of the texts; SVG leaves letters to its viewer.
    public var isWritable: Bool {
        shapes.allSatisfy { if case .text(let text, _, _, _, _, _) = $0 { StrokeFont.writes(text) } else { true } }
    }

    mutating func line(_ points: [Point], _ colour: Colour, width: Double = 1, isDashed: Bool = false) {
        shapes.append(.line(points, colour, width: width, isDashed: isDashed))
    }

    mutating func text(
        _ text: String, at point: Point, size: Double = 12, _ colour: Colour = .ink, anchor: Shape.Anchor = .start, isUpright: Bool = false
    ) {
        shapes.append(.text(text, at: point, size: size, colour, anchor: anchor, isUpright: isUpright))
    }
}

/// Drawings as SVG 1.1.
extension Drawing {
    public var svg: String {
        var out = """
            <?xml version="1.0" encoding="UTF-8"?>
            <svg xmlns="http://www.w3.org/2000/svg" width="\(width)" height="\(height)" viewBox="0 0 \(width) \(height)"
                font-family="Helvetica, Arial, sans-serif">
            <rect width="\(width)" height="\(height)" fill="#ffffff"/>

            """
        for shape in shapes { out += Drawing.element(shape) + "\n" }
        return out + "</svg>\n"
    }

    private static func element(_ shape: Shape) -> String {
        switch shape {
        case .line(let points, let colour, let width, let isDashed):
            let list = points.map { "\(number($0.x)),\(number($0.y))" }.joined(separator: " ")
            let pen = #"stroke="\#(colour.text)" stroke-width="\#(number(width))" stroke-linejoin="round" stroke-linecap="round""#
            let dashes = isDashed ? #" stroke-dasharray="\#(number(width * Drawing.dash.on)) \#(number(width * Drawing.dash.off))""# : ""
            return #"<polyline points="\#(list)" fill="none" \#(pen)\#(dashes)/>"#
        case .disc(let centre, let radius, let colour):
            return #"<circle cx="\#(number(centre.x))" cy="\#(number(centre.y))" r="\#(number(radius))" fill="\#(colour.text)"/>"#
        case .halo(let text, let point, let size, let anchor):
            let place = #"x="\#(number(point.x))" y="\#(number(point.y))" font-size="\#(number(size))" text-anchor="\#(anchor.rawValue)""#
            let pen = #"fill="none" stroke="white" stroke-width="4" stroke-linejoin="round" aria-hidden="true""#
            return #"<text \#(place) \#(pen)>\#(escaped(text))</text>"#
        case .text(let text, let point, let size, let colour, let anchor, let isUpright):
            let turn = isUpright ? #" transform="rotate(-90 \#(number(point.x)) \#(number(point.y)))""# : ""
            let place = #"x="\#(number(point.x))" y="\#(number(point.y))" font-size="\#(number(size))""#
            return #"<text \#(place) fill="\#(colour.text)" text-anchor="\#(anchor.rawValue)"\#(turn)>\#(escaped(text))</text>"#
        }
    }

    /// Two decimals are a hundredth of a pixel.
    private static func number(_ value: Double) -> String {
        let rounded = (value * 100).rounded() / 100
        return rounded == rounded.rounded() ? rounded.decimals(0) : "\(rounded)"
    }

    /// Without the characters that XML forbids.
    private static func escaped(_ text: String) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "\"": out += "&quot;"
            case "\t", "\n", "\r": out += " "
            case _ where scalar.value < 32 || scalar.value == 0xFFFE || scalar.value == 0xFFFF: out += "\u{FFFD}"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}
