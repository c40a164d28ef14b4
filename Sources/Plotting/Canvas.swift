import Contracts
import Engines

/// Drawings as PNG: drawn with antialiased strokes, each shape as one mask, so that a line does not darken where it crosses itself.
struct Canvas {
    let width: Int
    let height: Int
    private var pixels: [UInt8]
    /// How much of each pixel the shape at work covers.
    private var mask: [Float]
    private var touched: [Int] = []

    init(width: Int, height: Int) {
        (self.width, self.height) = (width, height)
        pixels = [UInt8](repeating: 255, count: width * height * 3)
        mask = [Float](repeating: 0, count: width * height)
    }

    mutating func draw(_ shape: Shape) {
        switch shape {
        case .line(let points, let colour, let width, let isDashed):
            for part in isDashed ? Canvas.dashes(points, on: width * Drawing.dash.on, off: width * Drawing.dash.off) : [points] {
                stroke(part, width: width)
            }
            ink(colour)
        case .disc(let centre, let radius, let colour):
            stroke([centre], width: radius * 2)
            ink(colour)
        case .halo(let text, let point, let size, let anchor):
            for line in StrokeFont.lines(text, size: size, anchor: anchor) {
                stroke(line.map { Point(point.x + $0.x, point.y + $0.y) }, width: size / 2)
            }
            ink(.white)
        case .text(let text, let point, let size, let colour, let anchor, let isUpright):
            for line in StrokeFont.lines(text, size: size, anchor: anchor) {
                stroke(
                    line.map { isUpright ? Point(point.x + $0.y, point.y - $0.x) : Point(point.x + $0.x, point.y + $0.y) },
                    width: max(1, size / 11))
            }
            ink(colour)
        }
    }

    private mutating func stroke(_ points: [Point], width: Double) {
        guard var last = points.first else { return }
        if points.count == 1 { segment(last, last, width / 2) }
        for point in points.dropFirst() {
            segment(last, point, width / 2)
            last = point
        }
    }

    /// The parts of a line that a dashed pen draws.
    static func dashes(_ points: [Point], on: Double, off: Double) -> [[Point]] {
        guard var last = points.first else { return [] }
        var (parts, isDown, left) = ([[last]], true, on)
        for point in points.dropFirst() {
            let length = ((point.x - last.x) * (point.x - last.x) + (point.y - last.y) * (point.y - last.y)).squareRoot()
            var done = 0.0
            while length - done > left {
                done += left
                let turn = Point(last.x + (point.x - last.x) * done / length, last.y + (point.y - last.y) * done / length)
                if isDown { parts[parts.count - 1].append(turn) } else { parts.append([turn]) }
                (isDown, left) = (!isDown, isDown ? off : on)
            }
            left -= length - done
            if isDown { parts[parts.count - 1].append(point) }
            last = point
        }
        return parts
    }

    /// Covers what is nearer to the line from `a` to `b` than `radius`, the edge softened over one pixel.
    private mutating func segment(_ a: Point, _ b: Point, _ radius: Double) {
        let (dx, dy) = (b.x - a.x, b.y - a.y)
        let square = dx * dx + dy * dy
        let reach = radius + 1
        let (top, bottom) = (
            max(0, Int(saturating: (min(a.y, b.y) - reach).rounded(.down))),
            min(height - 1, Int(saturating: (max(a.y, b.y) + reach).rounded(.up)))
        )
        guard top <= bottom else { return }
        for y in top...bottom {
            // Of a long slanted line only the part near this row is looked at.
            var (left, right) = (min(a.x, b.x), max(a.x, b.x))
            if abs(dy) > 1e-9 {
                let t = [(Double(y) - reach - a.y) / dy, (Double(y) + 1 + reach - a.y) / dy].map { min(max($0, 0), 1) }
                (left, right) = (min(a.x + dx * t[0], a.x + dx * t[1]), max(a.x + dx * t[0], a.x + dx * t[1]))
            }
            let (from, to) = (
                max(0, Int(saturating: (left - reach).rounded(.down))), min(width - 1, Int(saturating: (right + reach).rounded(.up)))
            )
            guard from <= to else { continue }
            for x in from...to {
                let (px, py) = (Double(x) + 0.5 - a.x, Double(y) + 0.5 - a.y)
                let t = square > 0 ? min(max((px * dx + py * dy) / square, 0), 1) : 0
                let (ex, ey) = (px - dx * t, py - dy * t)
                let cover = Float(min(max(radius + 0.5 - (ex * ex + ey * ey).squareRoot(), 0), 1))
                let place = y * width + x
                guard cover > mask[place] else { continue }
                if mask[place] == 0 { touched.append(place) }
                mask[place] = cover
            }
        }
    }

    private mutating func ink(_ colour: Colour) {
        for place in touched {
            let cover = mask[place]
            mask[place] = 0
            for (i, part) in [colour.red, colour.green, colour.blue].enumerated() {
                let old = Float(pixels[place * 3 + i])
                pixels[place * 3 + i] = UInt8(saturating: (old + (Float(part) - old) * cover).rounded())
            }
        }
        touched.removeAll(keepingCapacity: true)
    }

    /// 8-bit RGB, each row filtered by the one above it.
    func png() throws(KeelError) -> [UInt8] {
        var rows: [UInt8] = []
        rows.reserveCapacity((width * 3 + 1) * height)
        for y in 0..<height {
            rows.append(2)
            for i in 0..<width * 3 {
                let above = y > 0 ? pixels[(y - 1) * width * 3 + i] : 0
                rows.append(pixels[y * width * 3 + i] &- above)
            }
        }
        var out: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
        Canvas.chunk("IHDR", Canvas.big(UInt32(width)) + Canvas.big(UInt32(height)) + [8, 2, 0, 0, 0], to: &out)
        Canvas.chunk("IDAT", try Deflate.zlib(rows), to: &out)
        Canvas.chunk("IEND", [], to: &out)
        return out
    }

    private static func chunk(_ name: String, _ data: [UInt8], to out: inout [UInt8]) {
        let body = Array(name.utf8) + data
        out += big(UInt32(data.count)) + body + big(Deflate.crc32(body))
    }

    private static func big(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }
}

extension Drawing {
    /// - Parameter scale: pixels per pixel of the drawing; 2 is sharp on today's screens.
    public func png(scale: Int = 2) throws(KeelError) -> [UInt8] {
        var canvas = Canvas(width: width * scale, height: height * scale)
        for shape in shapes { canvas.draw(shape.scaled(Double(scale))) }
        return try canvas.png()
    }
}

extension Shape {
    func scaled(_ factor: Double) -> Shape {
        func scaled(_ point: Point) -> Point { Point(point.x * factor, point.y * factor) }
        return switch self {
        case .line(let points, let colour, let width, let isDashed):
            .line(points.map(scaled), colour, width: width * factor, isDashed: isDashed)
        case .disc(let centre, let radius, let colour): .disc(scaled(centre), radius: radius * factor, colour)
        case .halo(let text, let point, let size, let anchor): .halo(text, at: scaled(point), size: size * factor, anchor: anchor)
        case .text(let text, let point, let size, let colour, let anchor, let isUpright):
            .text(text, at: scaled(point), size: size * factor, colour, anchor: anchor, isUpright: isUpright)
        }
    }
}
