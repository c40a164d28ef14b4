import Contracts
import Foundation
import Storage
import TestSupport
import Testing

@Suite struct MappedRingTests {
    private let path: String
    private let page = Int(getpagesize())

    init() throws { path = try temporaryFolder() + "/ring" }

    private func open() throws -> MappedRing { try MappedRing(path: path, capacity: page) }

    @Test func whatIsNotReleasedIsThereAfterEachOpening() throws {
        for seed in 1...20 {
            try? FileManager.default.removeItem(atPath: path)
            var random = Seeded(UInt64(seed))
            var oracle: [(bytes: [UInt8], end: UInt64)] = []
            var ring = try open()
            for _ in 0..<500 {
                switch Int.random(in: 0..<10, using: &random) {
                case 0: ring = try open()
                case 1, 2:
                    guard let last = oracle.indices.randomElement(using: &random) else { continue }
                    ring.release(before: oracle[last].end)
                    oracle.removeFirst(last + 1)
                default:
                    let bytes = (0..<Int.random(in: 0...300, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
                    let free = ring.free
                    let end = ring.append(bytes)
                    #expect((end != nil) == (bytes.count + 24 <= free))
                    if let end { oracle.append((bytes, end)) }
                }
                let found = try ring.records()
                #expect(
                    found.damage.isEmpty && found.records.map(\.bytes) == oracle.map(\.bytes)
                        && found.records.map(\.end) == oracle.map(\.end))
            }
        }
    }

    /// A process that is killed leaves any part of the record that it was copying.
    @Test func aRecordThatWasNotCopiedWholeIsPassedOver() throws {
        let ring = try open()
        _ = ring.append([1, 2, 3])
        let end = try #require(ring.append([4, 5, 6, 7]))
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        try file.seek(toOffset: UInt64(page) + end - 2)
        try file.write(contentsOf: [0, 0])
        let again = try open()
        #expect(try again.records().records.map(\.bytes) == [[1, 2, 3]])
        #expect(again.append([8]) != nil)
        #expect(try open().records().records.map(\.bytes) == [[1, 2, 3], [8]])
    }

    @Test func damageBeforeARecordIsReportedAndTheRecordRead() throws {
        let ring = try open()
        _ = ring.append([1, 2, 3])
        _ = ring.append([4, 5, 6])
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        try file.seek(toOffset: UInt64(page) + 25)
        try file.write(contentsOf: [9])
        let found = try open().records()
        #expect(found.records.map(\.bytes) == [[4, 5, 6]] && found.damage.count == 1)
    }

    @Test func withoutItsFirstPageEveryWholeRecordCounts() throws {
        for seed in 1...20 {
            try? FileManager.default.removeItem(atPath: path)
            var random = Seeded(UInt64(seed))
            let ring = try open()
            var last: [[UInt8]] = []
            var ends: [UInt64] = []
            for i in 0..<Int.random(in: 1...200, using: &random) {
                let bytes = [UInt8](repeating: UInt8(i), count: Int.random(in: 0...200, using: &random))
                while true {
                    if let end = ring.append(bytes) {
                        last.append(bytes)
                        ends.append(end)
                        // All but the last three are elsewhere.
                        if ends.count > 3 { ring.release(before: ends[ends.count - 4]) }
                        break
                    }
                    let records = try ring.records().records
                    ring.release(before: records[0].end)
                }
            }
            let waiting = try ring.records().records.map(\.bytes)
            let file = try #require(FileHandle(forUpdatingAtPath: path))
            try file.seek(toOffset: UInt64.random(in: 0..<24, using: &random))
            try file.write(contentsOf: [UInt8.random(in: 1...254, using: &random)])
            let again = try open()
            let found = try again.records().records.map(\.bytes)
            #expect(found.suffix(waiting.count) == waiting[...] && found == last.suffix(found.count))
            #expect(again.append([1]) != nil || again.free < 25)
        }
    }

    @Test func somethingElseInItsPlaceIsLeftAlone() throws {
        let target = path + ".target"
        try Data("important".utf8).write(to: URL(fileURLWithPath: target))
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: target)
        #expect(throws: KeelError.self) { try open() }
        #expect(try String(contentsOfFile: target, encoding: .utf8) == "important")
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        #expect(throws: KeelError.self) { try open() }
        try FileManager.default.removeItem(atPath: path)
        #expect(mkfifo(path, 0o600) == 0)
        #expect(throws: KeelError.self) { try open() }
    }

    @Test func anyBytesAreOpened() throws {
        var random = Seeded(7)
        for size in [0, 1, 100, 2 * page, 2 * page, 2 * page, 3 * page] {
            var bytes = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
            if Bool.random(using: &random), size >= 16 { bytes.replaceSubrange(0..<8, with: Array("KELRING1".utf8)) }
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            let ring = try open()
            #expect(try ring.records().records.isEmpty)
            #expect(ring.append([1]) != nil)
        }
    }
}
