import Contracts
import Engines
import Foundation
import TestSupport
import Testing

@Suite("ONNX models that keep tensors in other files") struct ONNXExternalDataTests {
    /// `w` is [[1, 2], [3, 4]] behind 8 bytes of something else; `b` is [0.5, 0.25].
    private static let files: [String: [UInt8]] = [
        "weights/w.bin": [UInt8](repeating: 9, count: 8) + bytes([1, 2, 3, 4]) + [7, 7], "inner.bin": bytes([0.5, 0.25]),
    ]

    private static func bytes(_ values: [Float]) -> [UInt8] { values.withUnsafeBytes { Array($0) } }

    private func isRight(_ model: ONNXModel) throws -> Bool {
        let answer = try model.run(Table([("x", tensors(.float32, [2], .float32([1, 0, 0, 2])))]), until: soon)
        return answer["y"] == tensors(.float32, [2], .float32([1.5, 2.25, 6.5, 8.25]))
    }

    @Test("the files that were given are the model's, in branches too")
    func givenFiles() throws {
        #expect(try ONNXModel.externalFiles(of: ONNXTestModels.external) == ["inner.bin", "weights/w.bin"])
        #expect(try ONNXModel.externalFiles(of: tinyModel()) == [])
        #expect(try isRight(ONNXModel(bytes: ONNXTestModels.external, files: Self.files)))
        // A model that needs none takes no notice of them.
        #expect(try ONNXExternalData.inlined(tinyModel(), files: Self.files) == tinyModel())
    }

    @Test("without them the model is refused, and so is a file that is too short")
    func missingFiles() throws {
        let none = #expect(throws: KeelError.self) { try ONNXModel(bytes: ONNXTestModels.external) }
        #expect(none?.code == .invalidArgument && none?.message.contains("external_data") == true)
        var files = Self.files
        files["inner.bin"] = nil
        let missing = #expect(throws: KeelError.self) { try ONNXModel(bytes: ONNXTestModels.external, files: files) }
        #expect(missing?.message == "the model keeps tensors in 'inner.bin', which was not given")
        files = Self.files
        files["weights/w.bin"]?.removeLast(3)
        let short = #expect(throws: KeelError.self) { try ONNXModel(bytes: ONNXTestModels.external, files: files) }
        #expect(short?.message == "'weights/w.bin' has 23 bytes; the model wants 16 of them from 8 on")
        files = Self.files
        files["inner.bin"]?.append(0)
        // ONNX Runtime sees that the tensor has another size.
        let long = #expect(throws: KeelError.self) { try ONNXModel(bytes: ONNXTestModels.external, files: files) }
        #expect(long?.code == .corrupted)
    }

    /// A model with one external tensor.
    private func model(_ entries: [(key: String, value: String)]) -> [UInt8] {
        var message = Message()
        message.message(7) { graph in
            graph.message(5) { tensor in
                tensor.text(8, "w")
                for (key, value) in entries {
                    tensor.message(13) { entry in
                        entry.text(1, key)
                        entry.text(2, value)
                    }
                }
                tensor.integer(14, 1)
            }
        }
        return tinyModel() + message.bytes
    }

    @Test(
        "a path that leads out of the model's folder is refused",
        arguments: [
            "/etc/passwd", "../w", "a/../../w", "a/..", "", ".", "./w", "a//w", "a/", "w\u{0}", "..", "*//w",
        ])
    func pathsOutside(path: String) throws {
        let bytes = model([("location", path)])
        for attempt in [
            { try ONNXModel.externalFiles(of: bytes) }, { try ONNXExternalData.inlined(bytes, files: [path: [1]]).map { _ in "" } },
        ] {
            let error = #expect(throws: KeelError.self) { try attempt() }
            #expect(error?.code == .invalidArgument && error?.message.contains("not a file of its own folder") == true)
        }
    }

    @Test(
        "numbers that are none, and entries that contradict one another, are damage",
        arguments: [
            [("location", "w"), ("offset", "-1")], [("location", "w"), ("offset", "x")],
            [("location", "w"), ("length", "99999999999999999999")],
            [("location", "w"), ("location", "v")], [("offset", "0")], [],
        ] as [[(key: String, value: String)]])
    func contradictions(entries: [(key: String, value: String)]) {
        let error = #expect(throws: KeelError.self) { try ONNXExternalData.inlined(model(entries), files: ["w": [1], "v": [2]]) }
        #expect(error?.code == .corrupted)
    }

    @Test("ranges that overflow, and files that are used a thousand times, are refused")
    func ranges() throws {
        for (offset, length) in [("9223372036854775807", "9223372036854775807"), ("2", "0"), ("0", "2"), ("1", "1")] {
            let bytes = model([("location", "w"), ("offset", offset), ("length", length)])
            #expect(throws: KeelError.self) { try ONNXExternalData.inlined(bytes, files: ["w": [1]]) }
        }
        var message = Message()
        message.message(7) { graph in
            for _ in 0..<1100 {
                graph.message(5) { tensor in
                    tensor.message(13) { entry in
                        entry.text(1, "location")
                        entry.text(2, "w")
                    }
                    tensor.integer(14, 1)
                }
            }
        }
        let large = [UInt8](repeating: 0, count: 2_000_000)
        let error = #expect(throws: KeelError.self) { try ONNXExternalData.inlined(message.bytes, files: ["w": large]) }
        #expect(error?.message.contains("are supported") == true)
    }

    @Test("a model's own folder is read, and no link out of it")
    func folders() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("keel-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.createDirectory(at: folder.appendingPathComponent("model/weights"), withIntermediateDirectories: true)
        let model = folder.appendingPathComponent("model/model.onnx")
        try Data(ONNXTestModels.external).write(to: model)
        for (path, bytes) in Self.files { try Data(bytes).write(to: folder.appendingPathComponent("model/" + path)) }
        #expect(try isRight(ONNXModel(path: model.path)))

        // The same bytes behind a link: a file, then a folder.
        let inner = folder.appendingPathComponent("model/inner.bin")
        try FileManager.default.moveItem(at: inner, to: folder.appendingPathComponent("inner.bin"))
        #expect(#expect(throws: KeelError.self) { try ONNXModel(path: model.path) }?.code == .notFound)
        try FileManager.default.createSymbolicLink(atPath: inner.path, withDestinationPath: "../inner.bin")
        let linked = #expect(throws: KeelError.self) { try ONNXModel(path: model.path) }
        #expect(linked?.message.contains("'inner.bin'") == true)
        try FileManager.default.removeItem(at: inner)
        try Data(Self.files["inner.bin"] ?? []).write(to: inner)
        let weights = folder.appendingPathComponent("model/weights")
        try FileManager.default.moveItem(at: weights, to: folder.appendingPathComponent("weights"))
        try FileManager.default.createSymbolicLink(atPath: weights.path, withDestinationPath: "../weights")
        #expect(throws: KeelError.self) { try ONNXModel(path: model.path) }
        // What is no file is not waited for.
        try FileManager.default.removeItem(at: weights)
        try FileManager.default.createDirectory(at: weights, withIntermediateDirectories: true)
        #expect(mkfifo(weights.path + "/w.bin", 0o600) == 0)
        #expect(throws: KeelError.self) { try ONNXModel(path: model.path) }
    }
}

@Suite("what is read of ONNX files before ONNX Runtime") struct ONNXModelFuzzTests {
    /// Bytes of models, changed at random.
    private func mutated(_ models: [[UInt8]], _ random: inout Seeded) -> [UInt8] {
        var bytes = models.randomElement(using: &random) ?? []
        for _ in 0..<Int.random(in: 1...8, using: &random) where !bytes.isEmpty {
            let at = Int.random(in: bytes.indices, using: &random)
            switch Int.random(in: 0..<7, using: &random) {
            case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes[at] = [0, 0x7f, 0x80, 0xff, 0x6a, 0x70, 0x2a].randomElement(using: &random) ?? 0
            case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
            case 3: bytes.remove(at: at)
            case 4: bytes.removeLast(bytes.count - at)
            case 5:
                // A piece of another model, or of this one, over what is here.
                let other = models.randomElement(using: &random) ?? []
                let from = Int.random(in: other.indices, using: &random)
                let piece = other[from..<min(other.count, from + Int.random(in: 1...64, using: &random))]
                bytes.replaceSubrange(at..<min(bytes.count, at + piece.count), with: piece)
            default: bytes.insert(contentsOf: [UInt8](repeating: 0xff, count: Int.random(in: 1...10, using: &random)), at: at)
            }
        }
        return bytes
    }

    private static let models = [
        tinyModel(), ONNXTestModels.textClasses, ONNXTestModels.integerClasses, ONNXTestModels.external, ONNXTestModels.several,
        ONNXTestModels.identities,
    ]

    @Test(
        "any bytes are answered: a model that passes has nothing outside itself, and stays as it is", arguments: [1, 2, 3, 4] as [UInt64])
    func mutations(seed: UInt64) {
        var random = Seeded(seed)
        let files: [String: [UInt8]] = ["inner.bin": [UInt8](repeating: 1, count: 8), "weights/w.bin": [UInt8](repeating: 1, count: 24)]
        var (passed, refused) = (0, 0)
        let end = ContinuousClock.now + .seconds(2)
        while ContinuousClock.now < end {
            let bytes = mutated(Self.models, &random)
            do throws(KeelError) {
                try ONNXModelCheck.requireSelfContained(bytes)
                passed += 1
                #expect((try? ONNXModel.externalFiles(of: bytes)) == [], "seed \(seed): \(Data(bytes).base64EncodedString())")
                #expect((try? ONNXExternalData.inlined(bytes, files: files)) == bytes)
            } catch {
                refused += 1
                #expect([.corrupted, .invalidArgument].contains(error.code))
                // With the files in it, it passes but for what else was wrong with it.
                guard let inlined = try? ONNXExternalData.inlined(bytes, files: files) else { continue }
                do throws(KeelError) { try ONNXModelCheck.requireSelfContained(inlined) } catch {
                    #expect(!error.message.contains("external_data"), "seed \(seed): \(Data(bytes).base64EncodedString())")
                }
            }
        }
        #expect(passed > 100 && refused > 100, "\(passed) passed, \(refused) were refused")
    }

    /// The fields of onnx.proto that lead on, from a kind of message to another.
    private static let fields: [String: [(field: UInt64, to: String)]] = [
        "model": [(7, "graph"), (20, "training"), (25, "function")], "training": [(1, "graph"), (2, "graph")],
        "graph": [(1, "node"), (5, "tensor"), (15, "sparse")], "node": [(5, "attribute")], "function": [(7, "node"), (11, "attribute")],
        "attribute": [(5, "tensor"), (6, "graph"), (10, "tensor"), (11, "graph"), (22, "sparse"), (23, "sparse")],
        "sparse": [(1, "tensor"), (2, "tensor")],
    ]

    @Test("an external tensor is found however deep it lies and whatever stands around it", arguments: [1, 2] as [UInt64])
    func hidden(seed: UInt64) {
        var random = Seeded(seed)
        func noise(_ message: inout Message) {
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                // Fields that hold no message here.
                switch Int.random(in: 0..<3, using: &random) {
                case 0: message.integer(UInt64.random(in: 100...500, using: &random), UInt64.random(in: 0 ... .max, using: &random))
                case 1:
                    message.data(
                        UInt64.random(in: 100...500, using: &random), (0..<Int.random(in: 0...200, using: &random)).map { _ in 0xff })
                default: message.text(UInt64.random(in: 100...500, using: &random), "text")
                }
            }
        }
        func build(_ kind: String, depth: Int, _ isExternal: Bool) -> [UInt8] {
            var message = Message()
            noise(&message)
            if let ways = Self.fields[kind] {
                let near =
                    depth < 12 ? ways : ways.filter { $0.to == "tensor" || $0.to == "node" || $0.to == "attribute" || $0.to == "graph" }
                let way = near.randomElement(using: &random) ?? ways[0]
                message.data(way.field, build(way.to, depth: depth + 1, isExternal))
            } else if isExternal {
                Bool.random(using: &random) ? message.integer(14, 1) : message.message(13) { $0.text(1, "location") }
            } else {
                message.data(9, [1, 2, 3])
            }
            noise(&message)
            return message.bytes
        }
        var (found, deep) = (0, 0)
        for _ in 0..<3000 {
            let state = random
            let plain = build("model", depth: 0, false)
            random = state
            let external = build("model", depth: 0, true)
            do { try ONNXModelCheck.requireSelfContained(plain) } catch {
                deep += 1
                continue
            }
            found += 1
            #expect(throws: KeelError.self) { try ONNXModelCheck.requireSelfContained(external) }
        }
        #expect(found > 2000, "\(deep) were too deep")
    }
}
