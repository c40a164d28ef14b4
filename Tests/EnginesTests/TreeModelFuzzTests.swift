import Contracts
import Engines
import Foundation
import TestSupport
import Testing

/// Whatever is done to a model's bytes, loading either says no or gives a model that predicts without leaving its memory.
///
/// `KEEL_FUZZ_SECONDS` lets it run longer, with other damage in every round; a failure names the model and the seed.
@Suite("Trees: damaged models")
struct TreeModelFuzzTests {
    private let seconds = Double(ProcessInfo.processInfo.environment["KEEL_FUZZ_SECONDS"] ?? "") ?? 0

    @Test("every beginning of a model is refused as damaged")
    func truncation() throws {
        for model in try TreeModelTests.saved() {
            // What follows a LightGBM model's trees is not needed.
            let end = Data(model.bytes).range(of: Data("end of trees".utf8))?.lowerBound ?? model.bytes.count - 1
            for length in stride(from: 0, to: end, by: max(1, end / 300)) {
                let cut = with(model, bytes: Array(model.bytes[..<length]))
                let error = #expect(throws: KeelError.self) { try cut.load() }
                #expect(error?.code == .corrupted || length < 2, "\(model.name) cut to \(length) bytes: \(String(describing: error))")
            }
        }
    }

    @Test("damaged models are refused or harmless")
    func damage() throws {
        let models = try TreeModelTests.saved()
        let clock = ContinuousClock()
        let end = clock.now + .seconds(seconds)
        var round: UInt64 = 0
        var refused = 0
        var loaded = 0
        repeat {
            for (i, model) in models.enumerated() {
                var random = Seeded(round << 8 | UInt64(i))
                for _ in 0..<120 {
                    let other = models[Int.random(in: 0..<models.count, using: &random)]
                    let damaged = with(model, bytes: TreeModelFuzzTests.damage(model.bytes, other.bytes, &random))
                    do throws(KeelError) {
                        try predict(try damaged.load())
                        loaded += 1
                    } catch {
                        #expect(error.code == .corrupted || error.code == .invalidArgument, "\(model.name), round \(round): \(error)")
                        refused += 1
                    }
                }
            }
            round += 1
        } while clock.now < end
        // Both happen often, so both are tested.
        #expect(refused > loaded / 4 && loaded > refused / 20, "\(refused) refused, \(loaded) loaded")
    }

    private func with(_ model: TrainedTreeModel, bytes: [UInt8]) -> TrainedTreeModel {
        TrainedTreeModel(
            name: model.name, library: model.library, iterations: model.iterations, featureCount: model.featureCount,
            outputCount: model.outputCount, output: model.output, classCount: model.classCount, settings: model.settings, bytes: bytes,
            rows: [], expected: [])
    }

    /// A row alone, few and many, of missing, extreme and plain values.
    private func predict(_ model: TreeEnsemble) throws(KeelError) {
        // A damaged count of features is a legal model of a great many.
        guard model.featureCount <= 4096 else { return }
        let values: [Double] = [.nan, 0, 1, -1, .infinity, -.infinity, 1e300, 31, 1e9, -0.0]
        for rowCount in [1, 5, 300] {
            let rows = (0..<rowCount * model.featureCount).map { values[($0 &* 7 &+ $0 / model.featureCount) % values.count] }
            _ = try model.predict(rows: rows)
            _ = try model.predict(rows: rows.map(Float.init))
        }
    }

    /// A few changes of the kinds that parsers meet least often.
    private static func damage(_ bytes: [UInt8], _ other: [UInt8], _ random: inout Seeded) -> [UInt8] {
        var out = bytes
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            guard out.count > 16 else { break }
            let at = Int.random(in: 0..<out.count, using: &random)
            let length = min(out.count - at, Int.random(in: 1...40, using: &random))
            switch Int.random(in: 0..<8, using: &random) {
            // Digits become other digits: the damage that a parser does not see.
            case 0, 1, 2:
                let digit = out[at...].firstIndex { (48...57).contains($0) } ?? at
                out[digit] = UInt8.random(in: 48...57, using: &random)
            case 3: out[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 4: out[at] = [0, 0x7f, 0x80, 0xff, 45, 44, 32, 10][Int.random(in: 0..<8, using: &random)]
            case 5: out.removeSubrange(at..<at + length)
            case 6: out.insert(contentsOf: Array(out[at..<at + length]), at: Int.random(in: 0..<out.count, using: &random))
            default:
                let start = Int.random(in: 0..<max(1, other.count - length), using: &random)
                out.replaceSubrange(at..<at + length, with: other[start..<min(other.count, start + length)])
            }
        }
        return out
    }
}
