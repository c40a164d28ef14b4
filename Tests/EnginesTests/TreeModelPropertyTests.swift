import Contracts
import Engines
import Foundation
import Testing

/// Models that Python's XGBoost and LightGBM train now, with settings and data of chance, and their own answers.
struct TrainedTreeModel {
    private static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    static let corpora = tests.appending(path: "Corpora/trees")
    static let python = tests.deletingLastPathComponent().appending(path: ".keel/venv/bin/python").path

    let name: String
    let library: TreeEnsemble.Library
    let iterations: TreeEnsemble.Iterations
    let featureCount: Int
    let outputCount: Int
    let output: String
    let classCount: Int?
    let settings: String
    let bytes: [UInt8]
    let rows: [Double]
    let expected: [Double]

    static func train(seed: Int, count: Int) throws -> [TrainedTreeModel] {
        let folder = FileManager.default.temporaryDirectory.appending(path: "trees-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: python)
        process.arguments = ["-B", corpora.appending(path: "models.py").path, folder.path, String(seed), String(count)]
        process.environment = ["OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"]
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        return try read(folder)
    }

    static func read(_ folder: URL) throws -> [TrainedTreeModel] {
        let list = try String(contentsOf: folder.appending(path: "cases.txt"), encoding: .utf8)
        return try list.split(separator: "\n").map { line in
            let parts = line.split(separator: "\t").map(String.init)
            func bytes(_ kind: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: folder.appending(path: "\(parts[0]).\(kind)"))) }
            func numbers(_ kind: String) throws -> [Double] {
                try bytes(kind).withUnsafeBytes { raw in
                    (0..<raw.count / 8).map { raw.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self) }
                }
            }
            return TrainedTreeModel(
                name: parts[0], library: try #require(TreeEnsemble.Library(rawValue: parts[1])),
                iterations: parts[2] == "best" ? .best : .all,
                featureCount: try #require(Int(parts[3])), outputCount: try #require(Int(parts[4])), output: parts[5],
                classCount: parts[6] == "0" ? nil : Int(parts[6]), settings: parts[7], bytes: try bytes("model"), rows: try numbers("rows"),
                expected: try numbers("expected"))
        }
    }

    func load() throws(KeelError) -> TreeEnsemble {
        switch library {
        case .xgboost: try TreeEnsemble(xgboost: bytes, iterations: iterations)
        case .lightgbm: try TreeEnsemble(lightgbm: bytes)
        }
    }

    /// Whether each value is the library's within a millionth.
    func agrees(_ values: [Double]) -> Bool {
        values.count == expected.count
            && zip(values, expected).allSatisfy { $0 == $1 || ($0.isNaN && $1.isNaN) || abs($0 - $1) <= 1e-6 * max(1, abs($1)) }
    }
}

extension TreeEnsemble {
    func predict(rows: [Double]) throws(KeelError) -> [Double] {
        var out = [Double](repeating: .nan, count: rows.count / featureCount * outputCount)
        let result: Result<Void, KeelError> = rows.withUnsafeBufferPointer { rows in
            out.withUnsafeMutableBufferPointer { out in
                do throws(KeelError) { return .success(try predict(rows, into: out)) } catch { return .failure(error) }
            }
        }
        try result.get()
        return out
    }

    func predict(rows: [Float]) throws(KeelError) -> [Float] {
        var out = [Float](repeating: .nan, count: rows.count / featureCount * outputCount)
        let result: Result<Void, KeelError> = rows.withUnsafeBufferPointer { rows in
            out.withUnsafeMutableBufferPointer { out in
                do throws(KeelError) { return .success(try predict(rows, into: out)) } catch { return .failure(error) }
            }
        }
        try result.get()
        return out
    }
}

@Suite("Trees: models of both libraries", .enabled(if: FileManager.default.isExecutableFile(atPath: TrainedTreeModel.python)))
struct TreeModelPropertyTests {
    /// `KEEL_TREES_SEED` chooses other models, `KEEL_TREES_COUNT` how many.
    private static let settings = ProcessInfo.processInfo.environment
    private let seed = Int(settings["KEEL_TREES_SEED"] ?? "") ?? 11
    private let count = Int(settings["KEEL_TREES_COUNT"] ?? "") ?? 240

    @Test("predictions are the library's own, alone, in batches of any size and in both precisions")
    func predictions() throws {
        var seen: [String: Int] = [:]
        for model in try TrainedTreeModel.train(seed: seed, count: count) {
            let about: Comment = "\(model.name) of seed \(seed): \(model.settings)"
            let trees: TreeEnsemble
            do {
                trees = try model.load()
            } catch {
                // The one kind that is refused, by its name.
                #expect(error.code == .invalidArgument && error.message.contains("not supported"), "\(error) \(about)")
                seen["refused", default: 0] += 1
                continue
            }
            #expect(trees.featureCount == model.featureCount && trees.outputCount == model.outputCount, about)
            #expect("\(trees.output)" == model.output && trees.classCount == model.classCount, about)
            let batch = try trees.predict(rows: model.rows)
            let agrees = model.agrees(batch)
            #expect(agrees, about)
            for size in [1, 7, 64, 100] {
                var parts: [Double] = []
                let width = size * model.featureCount
                for start in stride(from: 0, to: model.rows.count, by: width) {
                    parts += try trees.predict(rows: Array(model.rows[start..<min(start + width, model.rows.count)]))
                }
                #expect(parts.map(\.bitPattern) == batch.map(\.bitPattern), "in parts of \(size): \(about)")
            }
            let many = try trees.predict(rows: Array(repeatElement(model.rows, count: 4).joined()))
            #expect(many.map(\.bitPattern) == repeatElement(batch, count: 4).joined().map(\.bitPattern), "in blocks: \(about)")
            if model.library == .xgboost {
                let narrow = try trees.predict(rows: model.rows.map(Float.init))
                #expect(narrow.map { Double($0).bitPattern } == batch.map(\.bitPattern), about)
            }
            seen[model.library.rawValue, default: 0] += 1
        }
        #expect(
            seen["xgboost", default: 0] > count / 3 && seen["lightgbm", default: 0] > count / 3 && seen["refused", default: 0] < count / 20)
    }
}
