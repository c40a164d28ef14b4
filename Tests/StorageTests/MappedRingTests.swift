import Contracts
import Foundation
import Storage
import TestSupport
import Testing

@Suite struct MappedRingTests {
    private let path: String
    private let page = Int(getpagesize())

    init() throws { path = try temporaryFolder() + "/ring" }

    private func open(boot: String = "one") throws -> MappedRing { try MappedRing(path: path, capacity: page, boot: boot) }

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

    @Test func whatAnotherStartOfTheMachineLeftIsPassedOver() throws {
        let ring = try open()
        let end = try #require(ring.append([1, 2, 3]))
        let next = try open(boot: "two")
        #expect(try next.records().records.isEmpty && next.end > end)
        _ = next.append([4])
        #expect(try open(boot: "two").records().records.map(\.bytes) == [[4]])
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
