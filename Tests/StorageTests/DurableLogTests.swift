import Contracts
import Foundation
import Storage
import Synchronization
import TestSupport
import Testing

/// What a log reported.
private final class Reports: Sendable {
    private let errors = Mutex<[KeelError]>([])
    func add(_ error: KeelError) { errors.withLock { $0.append(error) } }
    var all: [KeelError] { errors.withLock { $0 } }
}

/// A log and where each of its records lies on the disk.
private struct Oracle {
    struct Record {
        let body: [UInt8]
        /// Where it ends in the log.
        let next: UInt64
        let file: String
        let bytes: Range<Int>
        var isLost = false
    }
    let folder: String
    var records: [Record] = []
    private(set) var end: UInt64 = 0

    init(_ random: inout Seeded) throws {
        folder = try temporaryFolder()
        let log = try DurableLog(folder: folder, segmentBytesMax: 400)
        var (file, size) = ("", 0)
        for _ in 0..<Int.random(in: 1...60, using: &random) {
            let body = (0..<Int.random(in: 0...60, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            let next = try log.append([body])
            let last = try files()[files().count - 1]
            if last != file {
                file = last
                size = 0
            }
            let now = try content(file).count
            records.append(Record(body: body, next: next, file: file, bytes: size..<now))
            size = now
        }
        end = log.end
    }

    func files() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".log") }.sorted() }
    func content(_ file: String) throws -> [UInt8] { Array(try #require(FileManager.default.contents(atPath: "\(folder)/\(file)"))) }

    /// Damages a random file; says which records lost bytes.
    mutating func damage(_ random: inout Seeded) throws {
        let file = try #require(try files().randomElement(using: &random))
        var bytes = try content(file)
        guard !bytes.isEmpty else { return }
        let start = Int.random(in: 0..<bytes.count, using: &random)
        var gone = start..<(start + 1)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[start] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1:
            gone = start..<bytes.count
            bytes.removeSubrange(gone)
        case 2:
            gone = start..<min(bytes.count, start + Int.random(in: 1...120, using: &random))
            bytes.removeSubrange(gone)
        default:
            gone = start..<min(bytes.count, start + Int.random(in: 1...120, using: &random))
            for i in gone { bytes[i] ^= 0x5a }
        }
        try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/\(file)"))
        for i in records.indices where records[i].file == file && records[i].bytes.overlaps(gone) { records[i].isLost = true }
    }

    /// Whether what was lost is the end of the last file: what a crash may leave too.
    var onlyTheEndIsLost: Bool {
        guard let first = records.firstIndex(where: \.isLost) else { return true }
        return records[first...].allSatisfy { $0.isLost && $0.file == records[records.count - 1].file }
    }
}

@Suite("Logs")
struct DurableLogTests {
    @Test("D15: a log tells from where on it has its records")
    func bounds() throws {
        let folder = NSTemporaryDirectory() + "keel-log-\(Identifier.hex32())"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let log = try DurableLog(folder: folder, segmentBytesMax: 100)
        #expect(try log.bounds() == 0..<0)
        var ends: [UInt64] = []
        for _ in 0..<20 { ends.append(try log.append([[1, 2, 3, 4]])) }
        #expect(try log.bounds() == 0..<ends[19])
        try log.removeSegments(before: ends[9])
        let first = try log.bounds().lowerBound
        #expect(first > 0 && first <= ends[9])
        #expect(try DurableLog(folder: folder, segmentBytesMax: 100).bounds() == first..<ends[19])
        var read: [UInt64] = []
        try log.replay(from: first) { read.append($1) }
        #expect(read == ends.filter { $0 > first })
    }

    @Test("D8: whatever byte is damaged, every other record is read, at its offset; damage is reported and kept", arguments: 0..<60)
    func damaged(seed: UInt64) throws {
        for round in 0..<5 {
            var random = Seeded(seed * 100 + UInt64(round))
            var oracle = try Oracle(&random)
            try oracle.damage(&random)
            let reports = Reports()
            let log = try DurableLog(folder: oracle.folder, segmentBytesMax: 400, report: reports.add)
            // Someone holds all records up to here.
            try log.advance(to: oracle.end)
            let added = try log.append([[1, 2, 3]])
            #expect(added > oracle.end)
            func check(_ log: DurableLog, from offset: UInt64) throws {
                var read: [(next: UInt64, body: [UInt8])] = []
                try log.replay(from: offset) { record, next in read.append((next, Array(record))) }
                let left = oracle.records.filter { !$0.isLost && $0.next > offset }
                #expect(read.map(\.next) == left.map(\.next) + [added], "seed \(seed), round \(round), from \(offset)")
                #expect(read.map(\.body) == left.map(\.body) + [[1, 2, 3]])
            }
            try check(log, from: 0)
            try check(DurableLog(folder: oracle.folder, segmentBytesMax: 400, report: reports.add), from: 0)
            for record in oracle.records where Bool.random(using: &random) { try check(log, from: record.next) }
            if oracle.records.contains(where: \.isLost) {
                #expect(!reports.all.isEmpty, "seed \(seed), round \(round): \(oracle.records.filter(\.isLost).count) records are lost")
                #expect(reports.all.allSatisfy { $0.code == .corrupted })
            } else {
                #expect(reports.all.isEmpty)
            }
            try FileManager.default.removeItem(atPath: oracle.folder)
        }
    }

    @Test("D8: without a seal, only the end of the last file may be lost without a word: a crash leaves the same", arguments: 0..<60)
    func unsealed(seed: UInt64) throws {
        var random = Seeded(seed)
        var oracle = try Oracle(&random)
        try oracle.damage(&random)
        let reports = Reports()
        let log = try DurableLog(folder: oracle.folder, segmentBytesMax: 400, report: reports.add)
        var read: [UInt64] = []
        try log.replay { _, next in read.append(next) }
        #expect(read == oracle.records.filter { !$0.isLost }.map(\.next))
        #expect(!reports.all.isEmpty || oracle.onlyTheEndIsLost, "seed \(seed)")
        let added = try log.append([[7]])
        #expect(added > (read.last ?? 0))
        read = []
        try DurableLog(folder: oracle.folder, segmentBytesMax: 400).replay { _, next in read.append(next) }
        #expect(read.last == added)
    }

    @Test("D8: damaged bytes are copied beside the log before anything is done about them")
    func setAside() throws {
        let folder = try temporaryFolder()
        do {
            let log = try DurableLog(folder: folder)
            for i in 0..<3 { try log.append([Array(repeating: UInt8(i), count: 50)]) }
        }
        let file = folder + "/00000000000000000000.log"
        var bytes = Array(try #require(FileManager.default.contents(atPath: file)))
        bytes[100] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        let reports = Reports()
        let log = try DurableLog(folder: folder, report: reports.add)
        try log.replay { _, _ in }
        #expect(Set(reports.all.map(\.message)).count == 1)
        let copies = try FileManager.default.contentsOfDirectory(atPath: folder + "/damaged")
        #expect(copies.count == 1)
        #expect(FileManager.default.contents(atPath: "\(folder)/damaged/\(copies[0])") == Data(bytes[74..<148]))
        #expect(FileManager.default.contents(atPath: file) == Data(bytes), "the segment itself is as it was found")
    }

    @Test("D8: a head whose offset is beyond all logs is no head, and a file named so is no segment, however right their checksums are")
    func beyond() throws {
        let folder = try temporaryFolder()
        var bytes: [UInt8] = []
        LogSegment.append([1, 2, 3], at: 0, to: &bytes)
        let first = bytes.count
        LogSegment.append([4], at: .max - 20, to: &bytes)
        let last = bytes.count
        LogSegment.append([5, 6], at: UInt64(last), to: &bytes)
        try Data(bytes).write(to: URL(fileURLWithPath: folder + "/00000000000000000000.log"))
        try Data(bytes).write(to: URL(fileURLWithPath: folder + "/\(UInt64.max).log"))
        let reports = Reports()
        let log = try DurableLog(folder: folder, report: reports.add)
        var read: [[UInt8]] = []
        try log.replay { record, _ in read.append(Array(record)) }
        #expect(read == [[1, 2, 3], [5, 6]])
        #expect(Set(reports.all.map(\.message)).count == 1)
        let copies = try FileManager.default.contentsOfDirectory(atPath: folder + "/damaged")
        #expect(copies.map { FileManager.default.contents(atPath: "\(folder)/damaged/\($0)") } == [Data(bytes[first..<last])])
    }

    @Test("D8: segments of Keel 0.1.0 are read, and a record cut off by a crash is dropped")
    func oldSegments() throws {
        let folder = try temporaryFolder()
        // Two records, as 0.1.0 wrote them, and part of a third.
        let old: [UInt8] = oldRecord([1, 2, 3]) + oldRecord([4, 5]) + oldRecord([6, 7, 8, 9]).dropLast()
        try Data(old).write(to: URL(fileURLWithPath: folder + "/00000000000000000000.log"))
        for round in 0..<3 {
            let reports = Reports()
            let log = try DurableLog(folder: folder, report: reports.add)
            try log.append([[UInt8(round)]])
            var read: [[UInt8]] = []
            try log.replay { record, _ in read.append(Array(record)) }
            #expect(read == [[1, 2, 3], [4, 5]] + (0...round).map { [UInt8($0)] })
            #expect(reports.all.isEmpty)
        }
    }

    @Test("a segment that is no file is set aside; the log goes on behind where it began", arguments: Intruder.allCases)
    func intruders(_ intruder: Intruder) throws {
        let folder = try temporaryFolder()
        var log: DurableLog? = try DurableLog(folder: folder, segmentBytesMax: 100)
        for i in 0..<20 { try log?.append([[UInt8(i)]]) }
        log = nil
        let last = try #require(try FileManager.default.contentsOfDirectory(atPath: folder).sorted().last)
        try FileManager.default.removeItem(atPath: "\(folder)/\(last)")
        try intruder.make("\(folder)/\(last)")
        let reports = Reports()
        for round in 0..<2 {
            let log = try DurableLog(folder: folder, segmentBytesMax: 100, report: reports.add)
            #expect(reports.all.count == 1 && log.end >= UInt64(last.dropLast(4)) ?? .max)
            try log.append([[100 + UInt8(round)]])
            var read: [UInt8] = []
            try log.replay { record, _ in read.append(record[0]) }
            #expect(read.first == 0 && read.suffix(round + 1) == (0...round).map { 100 + UInt8($0) })
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/damaged").count == 1)
    }

    @Test("D7: what was appended last can be taken back, also when it began a new segment")
    func takenBack() throws {
        let log = try DurableLog(folder: temporaryFolder(), segmentBytesMax: 100)
        var kept: [[UInt8]] = []
        for i in 0..<60 {
            let before = log.end
            try log.append([[UInt8(i)], [UInt8(i)]])
            if i % 3 == 1 { try log.takeBack(to: before) } else { kept += [[UInt8(i)], [UInt8(i)]] }
        }
        var read: [[UInt8]] = []
        try log.replay { record, _ in read.append(Array(record)) }
        #expect(read == kept)
    }

    /// Length, FNV-1a over at most 8 bytes at a time folded to 32 bits, and the body.
    private func oldRecord(_ body: [UInt8]) -> [UInt8] {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in body { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let sum = UInt32(truncatingIfNeeded: hash ^ hash >> 32)
        return withUnsafeBytes(of: UInt32(body.count).littleEndian) { Array($0) } + withUnsafeBytes(of: sum.littleEndian) { Array($0) }
            + body
    }
}
