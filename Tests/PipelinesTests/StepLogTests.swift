import Contracts
import Foundation
import Pipelines
import Workers
import Testing

@Suite("Logs of steps")
struct StepLogTests {
    private func all(_ path: String, endBytesMax: Int64 = StepLog.endBytesMax) throws -> (lines: [String], leftOut: Int64) {
        var lines: [String] = []
        var leftOut: Int64 = 0
        var from: Int64 = 0
        while true {
            let page = try LogPage.read(path, from: from, tail: nil, endBytesMax: endBytesMax)
            lines += page.lines
            leftOut += page.leftOut
            guard page.next > from else { return (lines, leftOut) }
            from = page.next
        }
    }

    @Test("pages give every whole line once, also those that come later")
    func pages() throws {
        let path = try temporaryFolder() + "/s.log"
        #expect(try LogPage.read(path, from: 0, tail: nil).lines == [])
        let log = StepLog(path: path)
        log.write("one")
        log.write("")
        let first = try LogPage.read(path, from: 0, tail: nil)
        #expect(first.lines == ["one", ""])
        log.write("two")
        #expect(try LogPage.read(path, from: first.next, tail: nil).lines == ["two"])
        #expect(try LogPage.read(path, from: 0, tail: 2).lines == ["", "two"])
        #expect(try LogPage.read(path, from: 1 << 40, tail: nil).lines == [])
    }

    @Test("A9: a log keeps its beginning and its end, says how much lies between, and takes no more of the disk")
    func bounded() throws {
        let path = try temporaryFolder() + "/s.log"
        let end: Int64 = 256 << 10
        let log = StepLog(path: path, endBytesMax: end)
        let count = 200_000
        for i in 0..<count { log.write("line \(i)") }
        let (lines, leftOut) = try all(path, endBytesMax: end)
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(Int64(status.st_blocks) * 512 <= 2 * end + (1 << 20), "the middle is given back to the disk")
        #expect(lines.first == "line 0" && lines.last == "line \(count - 1)")
        let numbers = lines.compactMap { Int($0.dropFirst(5)) }
        #expect(
            numbers.count == lines.count && zip(numbers, numbers.dropFirst()).count { $1 != $0 + 1 } == 1, "one gap, between whole lines")
        #expect(leftOut > 0 && Int64(lines.reduce(0) { $0 + $1.utf8.count + 1 }) + leftOut <= Int64(status.st_size))
    }

    @Test("what a program put in the place of a log keeps nobody waiting, and nothing is read from it or written to it")
    func otherThings() throws {
        let folder = try temporaryFolder()
        let fifo = folder + "/fifo.log"
        #expect(mkfifo(fifo, 0o600) == 0)
        #expect(try LogPage.read(fifo, from: 0, tail: nil).lines == [])
        let log = StepLog(path: fifo)
        log.write("nobody reads the other end")
        #expect(log.reference == nil)
        // Also with a reader: what was written would be lost, and its place is not known.
        let reader = open(fifo, O_RDONLY | O_NONBLOCK)
        log.write("somebody does")
        #expect(log.reference == nil)
        close(reader)
        let elsewhere = folder + "/elsewhere"
        try Data("theirs\n".utf8).write(to: URL(fileURLWithPath: elsewhere))
        #expect(symlink(elsewhere, folder + "/link.log") == 0)
        #expect(try LogPage.read(folder + "/link.log", from: 0, tail: nil).lines == [])
        StepLog(path: folder + "/link.log").write("x")
        #expect(try LogPage.read(elsewhere, from: 0, tail: nil).lines == ["theirs"])
    }

    @Test("the reference says where an attempt's lines are and what they were")
    func reference() throws {
        let path = try temporaryFolder() + "/s.log"
        let log = StepLog(path: path)
        log.beginAttempt()
        #expect(log.reference == nil)
        log.write("first")
        log.beginAttempt()
        log.write("second")
        #expect(log.reference == ["from": 6, "to": 13, "lines": 1, "digest": .string(Digest(of: "second\n").hex)])
        log.close()
        let reopened = StepLog(path: path)
        reopened.beginAttempt()
        reopened.write("third")
        #expect(reopened.reference?["from"] == 13)
    }

    @Test("a secret is masked wherever the stream is cut")
    func masks() {
        let secret = "abcdefgh-ijkl"
        let text =
            String(repeating: "x", count: LineSplitter.lineBytesMax - 4) + secret + String(repeating: "y", count: 40_000) + secret + "\n"
        for part in [1, 7, 4096, 100_000] {
            var splitter = LineSplitter(masking: SecretMask([secret, "short"]))
            var lines: [String] = []
            let bytes = Array(text.utf8)
            for start in stride(from: 0, to: bytes.count, by: part) {
                splitter.add(bytes[start..<min(start + part, bytes.count)]) { lines.append($0) }
            }
            splitter.finish { lines.append($0) }
            let whole = lines.joined()
            #expect(whole == text.dropLast().replacing(secret, with: "[secret]"))
            #expect(lines.allSatisfy { $0.utf8.count <= LineSplitter.lineBytesMax + 32 })
        }
    }
}
