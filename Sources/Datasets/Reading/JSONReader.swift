import Contracts

/// Reads JSON lines, one object a line, or one JSON array of objects, told by the first character.
///
/// Of lines, one that is no row is refused with its number. An array that is not valid JSON refuses the file: nobody can tell where its next row begins.
package struct JSONReader {
    private let file: String
    private let window: ByteWindow
    private let batcher: RowBatcher
    private let rows: JSONRows

    package init(_ spec: DatasetSpec, file: String, window: ByteWindow, sink: any RowSink) {
        self.file = file
        self.window = window
        batcher = RowBatcher(spec, sink: sink)
        rows = JSONRows(batcher)
    }

    package func run(progress: (Int) throws(KeelError) -> Void) throws(KeelError) {
        try window.skipMark()
        var line = 1
        try skipSpace(&line)
        if window.bytes.first == UInt8(ascii: "[") { try array(&line, progress) } else { try lines(&line, progress) }
        try batcher.flush()
    }

    // MARK: Lines

    private func lines(_ line: inout Int, _ progress: (Int) throws(KeelError) -> Void) throws(KeelError) {
        var searched = 0
        while true {
            let bytes = window.bytes
            guard let end = lineEnd(bytes, from: searched) else {
                searched = bytes.count
                if bytes.count > CSVReader.rowBytesMax {
                    try skipLine(line)
                    line += 1
                    searched = 0
                } else if try !window.more() {
                    if !window.bytes.isEmpty { try row(window.bytes, line) }
                    return
                }
                continue
            }
            try row(UnsafeBufferPointer(rebasing: bytes.prefix(end)), line)
            window.consume(end + 1)
            searched = 0
            line += 1
            if line & 4095 == 0 { try progress(window.consumed) }
        }
    }

    private func lineEnd(_ bytes: UnsafeBufferPointer<UInt8>, from: Int) -> Int? {
        var i = from
        while i < bytes.count {
            if bytes[i] == 10 { return i }
            i += 1
        }
        return nil
    }

    private func row(_ bytes: UnsafeBufferPointer<UInt8>, _ line: Int) throws(KeelError) {
        if bytes.allSatisfy({ $0 == 32 || $0 == 13 || $0 == 9 }) { return }
        var scanner = JSONScanner(bytes)
        var problem: (rule: String, message: String)?
        do throws(KeelError) {
            problem = try rows.row(&scanner)
            try scanner.expectEnd()
        } catch { problem = ("valid JSON", error.message) }
        if let problem {
            try batcher.abandonRow(RowIssue(line: line, rule: problem.rule, message: problem.message, raw: RowIssue.raw(bytes)))
        } else {
            try batcher.commitRow(line: line, bytes: bytes.count)
        }
    }

    private func skipLine(_ line: Int) throws(KeelError) {
        let raw = RowIssue.raw(window.bytes)
        while true {
            if let end = lineEnd(window.bytes, from: 0) {
                window.consume(end + 1)
                break
            }
            window.consume(window.bytes.count)
            guard try window.more() else { break }
        }
        try batcher.abandonRow(
            RowIssue(line: line, rule: "row length", message: "a line of more than \(CSVReader.rowBytesMax) bytes", raw: raw))
    }

    // MARK: An array

    private func array(_ line: inout Int, _ progress: (Int) throws(KeelError) -> Void) throws(KeelError) {
        window.consume(1)
        var count = 0
        while true {
            try skipSpace(&line)
            if count == 0, window.bytes.first == UInt8(ascii: "]") { break }
            let length = try element(line)
            let bytes = UnsafeBufferPointer(rebasing: window.bytes.prefix(length))
            var scanner = JSONScanner(bytes)
            let problem: (rule: String, message: String)?
            do throws(KeelError) {
                problem = try rows.row(&scanner)
                try scanner.expectEnd()
            } catch { throw malformed("element \(count + 1) is not valid JSON: \(error.message)", line) }
            if let problem {
                try batcher.abandonRow(RowIssue(line: line, rule: problem.rule, message: problem.message, raw: RowIssue.raw(bytes)))
            } else {
                try batcher.commitRow(line: line, bytes: length)
            }
            line += bytes.count { $0 == 10 }
            window.consume(length)
            count += 1
            if count & 4095 == 0 { try progress(window.consumed) }
            try skipSpace(&line)
            guard let next = window.bytes.first else { throw malformed("the array has no end: the file may be truncated", line) }
            if next == UInt8(ascii: "]") { break }
            guard next == UInt8(ascii: ",") else { throw malformed("a comma is missing behind element \(count)", line) }
            window.consume(1)
        }
        window.consume(1)
        try skipSpace(&line)
        guard window.bytes.isEmpty else { throw malformed("there is more behind the array", line) }
    }

    /// The length of the element at the front of the window, all of which is there then.
    private func element(_ line: Int) throws(KeelError) -> Int {
        var i = 0
        var depth = 0
        var inText = false
        while true {
            let bytes = window.bytes
            while i < bytes.count {
                let byte = bytes[i]
                if inText {
                    if byte == UInt8(ascii: "\\") { i += 1 } else if byte == UInt8(ascii: "\"") { inText = false }
                } else {
                    switch byte {
                    case UInt8(ascii: "\""): inText = true
                    case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                    case UInt8(ascii: "}"), UInt8(ascii: "]"), UInt8(ascii: ","):
                        // A bracket of the array itself, or its comma, ends the element too.
                        if depth == 0 { return i }
                        if byte != UInt8(ascii: ",") { depth -= 1 }
                    default: break
                    }
                }
                i += 1
            }
            guard window.bytes.count <= CSVReader.rowBytesMax else {
                throw malformed("an element of more than \(CSVReader.rowBytesMax) bytes", line)
            }
            guard try window.more() else { throw malformed("the array has no end: the file may be truncated", line) }
        }
    }

    private func skipSpace(_ line: inout Int) throws(KeelError) {
        while true {
            let bytes = window.bytes
            var i = 0
            while i < bytes.count, bytes[i] == 32 || bytes[i] == 10 || bytes[i] == 13 || bytes[i] == 9 {
                if bytes[i] == 10 { line += 1 }
                i += 1
            }
            window.consume(i)
            if !window.bytes.isEmpty { return }
            guard try window.more() else { return }
        }
    }

    private func malformed(_ message: String, _ line: Int) -> KeelError {
        .invalid(message, hint: "correct the file; nothing of it was kept", path: "\(file):\(line)")
    }
}
