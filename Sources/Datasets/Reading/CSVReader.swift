import Contracts

/// Reads CSV (RFC 4180): quoted fields with doubled quotes and line ends inside, LF, CRLF or CR CRLF, a byte order mark. The first line names the columns.
///
/// A row with another count of fields, a misplaced quote or a field that does not fit its type is refused with its line; an empty line is
/// skipped. A row of more than `rowBytesMax` is refused without being held in memory. A quote that is not closed, or only in a later line where none
/// can close, refuses the file: nobody can tell which of the lines behind it are rows.
package struct CSVReader {
    static let rowBytesMax = 32 << 20

    /// Where a field lies in the window; of a quoted one, inside the quotes.
    private struct FieldRange {
        var start: Int
        var end: Int
        var quoted: Bool
        var doubled: Bool
    }

    private enum Scan {
        /// The next row begins after so many bytes, of which so many line feeds.
        case row(next: Int, lines: Int)
        case malformed(next: Int, lines: Int, reason: String)
        /// A quote opens so many lines into the row, and no quote closes it.
        case unclosed(lines: Int)
        case needsMore
    }

    private let spec: DatasetSpec
    private let window: ByteWindow
    private let file: String
    private let batcher: RowBatcher
    private let sink: any RowSink
    private var fields: [FieldRange] = []
    private var scratch: [UInt8] = []

    package init(_ spec: DatasetSpec, file: String, window: ByteWindow, sink: any RowSink) {
        (self.spec, self.file, self.window, self.sink) = (spec, file, window, sink)
        batcher = RowBatcher(spec, sink: sink)
    }

    /// - Parameter progress: called now and then with the bytes consumed.
    package mutating func run(progress: (Int) throws(KeelError) -> Void) throws(KeelError) {
        try window.skipMark()
        var line = 1
        var header: [Int?]?
        var (columns, rows) = (0, 0)
        while true {
            switch scan(window.bytes, final: window.atEnd) {
            case .needsMore:
                if window.bytes.count > CSVReader.rowBytesMax {
                    guard header != nil else {
                        throw .invalid("the first line has more than \(CSVReader.rowBytesMax) bytes", path: "\(file):1")
                    }
                    line += try skipRow(line)
                } else if try !window.more(), window.bytes.isEmpty {
                    guard header != nil else { throw .invalid("\(file) is empty: its first line must name the columns") }
                    try batcher.flush()
                    return
                }
                continue
            case .row(let next, let lines):
                let bytes = window.bytes
                if fields.count == 1, fields[0].end == fields[0].start, !fields[0].quoted, columns != 1 {
                    // An empty line.
                } else if let header {
                    try append(bytes, next, header, columns, line)
                } else {
                    let names = fields.map { text(bytes, $0) }
                    header = try match(names)
                    columns = names.count
                }
                window.consume(next)
                line += lines
            case .malformed(let next, let lines, let reason):
                guard header != nil else {
                    throw .invalid("the first line, which names the columns, is malformed: \(reason)", path: "\(file):1")
                }
                try batcher.abandonRow(
                    RowIssue(
                        line: line, rule: "malformed row", message: reason,
                        raw: RowIssue.raw(UnsafeBufferPointer(rebasing: window.bytes.prefix(next)))))
                window.consume(next)
                line += lines
            case .unclosed(let lines): throw unclosed(line + lines)
            }
            rows += 1
            if rows & 4095 == 0 { try progress(window.consumed) }
        }
    }

    /// Finds the fields of the row at the front of `bytes`.
    private mutating func scan(_ bytes: UnsafeBufferPointer<UInt8>, final: Bool) -> Scan {
        fields.removeAll(keepingCapacity: true)
        let (count, delimiter) = (bytes.count, spec.delimiter)
        guard count > 0 else { return .needsMore }
        var (i, lines) = (0, 0)
        while true {
            var field = FieldRange(start: i, end: i, quoted: false, doubled: false)
            if i < count, bytes[i] == 34 {
                field.quoted = true
                let opened = lines
                i += 1
                field.start = i
                while true {
                    while i < count, bytes[i] != 34 {
                        if bytes[i] == 10 { lines += 1 }
                        i += 1
                    }
                    if i + 1 >= count, !final { return .needsMore }
                    if i >= count { return .unclosed(lines: opened) }
                    if i + 1 < count, bytes[i + 1] == 34 {
                        field.doubled = true
                        i += 2
                    } else {
                        break
                    }
                }
                field.end = i
                i += 1
                if i < count, bytes[i] != delimiter, bytes[i] != 10, bytes[i] != 13 {
                    // A quote of a later line, which opens a field there, was taken for the closing one.
                    guard lines == opened else { return .unclosed(lines: opened) }
                    // Resume at the next line.
                    while i < count, bytes[i] != 10 { i += 1 }
                    if i >= count, !final { return .needsMore }
                    return .malformed(
                        next: min(i + 1, count), lines: lines + 1, reason: "text after the closing quote of field \(fields.count + 1)")
                }
            } else {
                while i < count, bytes[i] != delimiter, bytes[i] != 10, bytes[i] != 13 { i += 1 }
                field.end = i
            }
            if i >= count, !final { return .needsMore }
            fields.append(field)
            if i >= count { return .row(next: count, lines: lines) }
            if bytes[i] == delimiter {
                i += 1
                if i >= count, !final { return .needsMore }
                continue
            }
            if bytes[i] == 13 {
                if i + 1 >= count, !final { return .needsMore }
                if i + 1 < count, bytes[i + 1] == 10 { return .row(next: i + 2, lines: lines + 1) }
                return .row(next: i + 1, lines: lines + 1)
            }
            return .row(next: i + 1, lines: lines + 1)
        }
    }

    private mutating func append(_ bytes: UnsafeBufferPointer<UInt8>, _ next: Int, _ header: [Int?], _ columns: Int, _ line: Int)
        throws(KeelError)
    {
        guard fields.count == columns else {
            let issue = "\(fields.count) fields where the header has \(columns)"
            return try refuse(bytes, next, line, ("number of fields", issue))
        }
        for (i, field) in fields.enumerated() {
            guard let target = header[i] else { continue }
            let problem: (rule: String, message: String)?
            if field.doubled {
                guard field.end - field.start <= 2 * RowBatcher.fieldBytesMax else {
                    return try refuse(bytes, next, line, batcher.tooLong(target, field.end - field.start))
                }
                undouble(bytes, field)
                problem = scratch.withUnsafeBufferPointer { batcher.append($0, quoted: true, to: target) }
            } else {
                problem = batcher.append(UnsafeBufferPointer(rebasing: bytes[field.start..<field.end]), quoted: field.quoted, to: target)
            }
            if let problem { return try refuse(bytes, next, line, problem) }
        }
        try batcher.commitRow(line: line, bytes: next)
    }

    private func refuse(_ bytes: UnsafeBufferPointer<UInt8>, _ next: Int, _ line: Int, _ problem: (rule: String, message: String))
        throws(KeelError)
    {
        var end = next
        while end > 0, bytes[end - 1] == 10 || bytes[end - 1] == 13 { end -= 1 }
        let raw = RowIssue.raw(UnsafeBufferPointer(rebasing: bytes.prefix(end)))
        try batcher.abandonRow(RowIssue(line: line, rule: problem.rule, message: problem.message, raw: raw))
    }

    private mutating func undouble(_ bytes: UnsafeBufferPointer<UInt8>, _ field: FieldRange) {
        scratch.removeAll(keepingCapacity: true)
        var i = field.start
        while i < field.end {
            scratch.append(bytes[i])
            i += bytes[i] == 34 ? 2 : 1
        }
    }

    private mutating func text(_ bytes: UnsafeBufferPointer<UInt8>, _ field: FieldRange) -> String {
        if field.doubled {
            undouble(bytes, field)
            return String(decoding: scratch, as: UTF8.self)
        }
        return String(decoding: bytes[field.start..<field.end], as: UTF8.self)
    }

    private func unclosed(_ line: Int) -> KeelError {
        .invalid(
            "a quoted field that begins in this line has no closing quote",
            hint: "close it; a quote that belongs to the text is written twice", path: "\(file):\(line)")
    }

    /// Of each column in the file, its position in the batch; nil for one that is passed over.
    private func match(_ names: [String]) throws(KeelError) -> [Int?] { try FileColumns.match(names, spec, file: "\(file):1") }

    /// Passes over a row that is too long to hold; returns how many lines it took.
    private func skipRow(_ line: Int) throws(KeelError) -> Int {
        let raw = RowIssue.raw(window.bytes)
        var (lines, quoted, fieldStart, done) = (0, false, true, false)
        while !done {
            let bytes = window.bytes
            var i = 0
            while i < bytes.count, !done {
                let byte = bytes[i]
                i += 1
                if byte == 34, quoted || fieldStart { quoted.toggle() }
                // After a closing quote another one reopens: a doubled quote.
                fieldStart = byte == spec.delimiter || byte == 34
                if byte == 10 {
                    guard !quoted else { throw unclosed(line) }
                    lines += 1
                    done = true
                }
            }
            window.consume(i)
            if !done, try !window.more() {
                guard !quoted else { throw unclosed(line) }
                done = true
            }
        }
        try batcher.abandonRow(
            RowIssue(line: line, rule: "row length", message: "a row of more than \(CSVReader.rowBytesMax) bytes", raw: raw))
        return lines
    }
}

/// Matches the columns of a file with those of the contract.
enum FileColumns {
    static func match(_ names: [String], _ spec: DatasetSpec, file: String) throws(KeelError) -> [Int?] {
        let expected = spec.layout.namesInFile
        var out: [Int?] = []
        for (i, name) in names.enumerated() {
            if spec.ignored.contains(name) {
                out.append(nil)
                continue
            }
            guard let position = expected.firstIndex(of: name) else {
                throw .invalid(
                    "the file has a column '\(name.prefix(100))' that the contract does not declare",
                    hint: nearest(name, in: expected.filter { !names.contains($0) }).map { "is it meant to be '\($0)'?" }
                        ?? "declare it in the Dataset, or list it under ignore", path: file)
            }
            guard !names[..<i].contains(name) else { throw .invalid("the file has two columns '\(name)'", path: file) }
            out.append(position)
        }
        if let missing = expected.first(where: { !names.contains($0) }) {
            throw .invalid(
                "the file has no column '\(missing)'",
                hint: nearest(missing, in: names).map { "is '\($0)' meant to be '\(missing)'?" }
                    ?? "its columns are \(names.prefix(40).joined(separator: ", "))",
                path: file)
        }
        return out
    }
}
