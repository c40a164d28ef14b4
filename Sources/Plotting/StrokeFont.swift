/// Letters as pen strokes, for pictures that are drawn without a font. A glyph is strokes of points `xy`: `x` from 0 to 4, `y` from 0 (the end of
/// descenders) over 2 (the line) and 6 (the height of x) to 8 (the height of capitals).
enum StrokeFont {
    /// The strokes of a text, from its anchor at (0, 0) on the line, `y` downwards; letters that have no strokes are boxes.
    static func lines(_ text: String, size: Double, anchor: Shape.Anchor) -> [[Point]] {
        // Capitals are 6 units high, 0.72 of the size.
        let unit = size * 0.72 / 6
        var x = 0.0
        var lines: [[Point]] = []
        for character in text {
            let glyph = glyph(character)
            lines += glyph.strokes.map { $0.map { Point((x + $0.x) * unit, (2 - $0.y) * unit) } }
            x += glyph.advance
        }
        let shift = anchor == .start ? 0 : anchor == .middle ? x * unit / 2 : x * unit
        return shift == 0 ? lines : lines.map { $0.map { Point($0.x - shift, $0.y) } }
    }

    /// How wide a text is.
    static func width(_ text: String, size: Double) -> Double { text.reduce(0) { $0 + glyph($1).advance } * size * 0.72 / 6 }

    private struct Glyph {
        let strokes: [[Point]]
        let advance: Double
    }

    private static let box = parse("02-42-48-08-02")

    /// Whether there are strokes for every letter.
    static func writes(_ text: String) -> Bool { text.allSatisfy { known($0) != nil } }

    private static func glyph(_ character: Character) -> Glyph { known(character) ?? box }

    private static func known(_ character: Character) -> Glyph? {
        if let glyph = glyphs[character] { return glyph }
        if character.isWhitespace { return Glyph(strokes: [], advance: 3) }
        // Letters with marks are drawn without them.
        return character.unicodeScalars.first.flatMap { marked[$0] }.flatMap { glyphs[$0] }
    }

    private static let marked: [Unicode.Scalar: Character] = [
        "ä": "a", "á": "a", "à": "a", "â": "a", "å": "a", "ã": "a", "ö": "o", "ó": "o", "ò": "o", "ô": "o", "õ": "o", "ø": "o", "ü": "u",
        "ú": "u",
        "ù": "u", "û": "u", "é": "e", "è": "e", "ê": "e", "ë": "e", "í": "i", "ì": "i", "î": "i", "ï": "i", "ñ": "n", "ç": "c", "Ä": "A",
        "Ö": "O",
        "Ü": "U", "É": "E", "ß": "B", "µ": "u", "–": "-", "—": "-", "−": "-", "…": ".", "×": "x", "’": "'",
    ]

    private static func parse(_ text: String) -> Glyph {
        var widest = 0.0
        let strokes = text.split(separator: " ").map { stroke in
            stroke.split(separator: "-").map { pair -> Point in
                let digits = pair.utf8.map { Double($0) - 48 }
                widest = max(widest, digits[0])
                return Point(digits[0], digits[1])
            }
        }
        return Glyph(strokes: strokes, advance: widest + 1.7)
    }

    private static let glyphs: [Character: Glyph] = strokes.mapValues(parse)

    private static let strokes: [Character: String] = [
        "0": "12-03-07-18-38-47-43-32-12", "1": "07-28-22 02-42", "2": "07-18-38-47-46-02-42",
        "3": "07-18-38-47-46-35-25 35-44-43-32-12-03",
        "4": "32-38-04-44", "5": "48-08-05-35-44-43-32-02", "6": "38-18-06-03-12-32-43-44-35-15-04", "7": "08-48-12",
        "8": "15-06-07-18-38-47-46-35-15-04-03-12-32-43-44-35", "9": "46-35-15-06-07-18-38-47-44-32-12",
        "A": "02-28-42 14-34", "B": "02-08-38-47-46-35-05 35-44-43-32-02", "C": "47-38-18-07-03-12-32-43", "D": "02-08-28-46-44-22-02",
        "E": "48-08-02-42 05-35",
        "F": "48-08-02 05-35", "G": "47-38-18-07-03-12-32-43-45-25", "H": "02-08 42-48 05-45", "I": "08-28 18-12 02-22",
        "J": "38-33-22-12-03",
        "K": "02-08 48-04 15-42", "L": "08-02-42", "M": "02-08-25-48-42", "N": "02-08-42-48", "O": "12-03-07-18-38-47-43-32-12",
        "P": "02-08-38-47-46-35-05",
        "Q": "12-03-07-18-38-47-43-32-12 24-41", "R": "02-08-38-47-46-35-05 25-42", "S": "47-38-18-07-06-15-35-44-43-32-12-03",
        "T": "08-48 28-22",
        "U": "08-03-12-32-43-48", "V": "08-22-48", "W": "08-12-26-32-48", "X": "02-48 08-42", "Y": "08-25-48 25-22", "Z": "08-48-02-42",
        "a": "05-16-26-35-32 34-14-03-12-22-33", "b": "08-02 05-16-26-35-33-22-12-03", "c": "35-26-16-05-03-12-22-33",
        "d": "38-32 35-26-16-05-03-12-22-33",
        "e": "04-34-35-26-16-05-03-12-22-33", "f": "28-18-17-12 05-25", "g": "36-31-20-10-01 35-26-16-05-03-12-22-33",
        "h": "08-02 05-16-26-35-32",
        "i": "06-02 08-08", "j": "16-11-00 18-18", "k": "08-02 36-04 14-32", "l": "08-03-12", "m": "06-02 05-16-25-22 25-36-45-42",
        "n": "06-02 05-16-26-35-32",
        "o": "12-03-05-16-26-35-33-22-12", "p": "06-00 05-16-26-35-33-22-12-03", "q": "36-30 35-26-16-05-03-12-22-33",
        "r": "06-02 04-16-26",
        "s": "35-26-16-05-14-24-33-22-12-03", "t": "18-13-22 06-26", "u": "06-03-12-22-33 36-32", "v": "06-22-46", "w": "06-12-25-32-46",
        "x": "02-36 06-32",
        "y": "06-22 46-22-10-00", "z": "06-36-02-32",
        ".": "02-02", ",": "12-01", ":": "02-02 05-05", ";": "12-01 15-15", "-": "05-25", "_": "01-41", "+": "05-45 27-23",
        "=": "04-34 06-36",
        "/": "02-38", "\\": "08-32", "|": "09-01", "(": "19-07-03-11", ")": "09-17-13-01", "[": "18-08-01-11", "]": "08-18-11-01",
        "{": "29-18-16-05-14-12-21",
        "}": "09-18-16-25-14-12-01", "<": "37-05-33", ">": "07-35-03", "!": "08-04 02-02", "?": "07-18-28-37-15-14 12-12", "'": "08-06",
        "\"": "08-06 18-16",
        "`": "08-17", "~": "05-16-25-36", "@": "43-32-12-03-06-17-37-46-44-34-36-26-24-34", "#": "12-17 32-37 04-44 06-46",
        "$": "46-37-17-06-15-35-44-33-13-04 28-22",
        "%": "02-48 08-07-17-18-08 33-32-42-43-33", "&": "42-06-07-18-28-27-04-03-12-22-44", "*": "27-23 06-44 46-04", "^": "06-28-46",
        "α": "46-22-12-03-05-16-26-42",
    ]
}
