import Contracts
import InferenceRPC
import TestSupport
import Testing

/// Writes requests as a client does.
struct RequestMaker {
    var writer = ProtobufWriter()

    init(model: String = "delay") { writer.text(1, model) }

    /// - Parameter contents: writes the fields of `InferTensorContents`.
    mutating func input(_ name: String, _ type: String, _ shape: [Int], contents: ((inout ProtobufWriter) -> Void)? = nil) {
        writer.message(5) { input in
            input.text(1, name)
            input.text(2, type)
            input.varints(3, shape.map { UInt64(bitPattern: Int64($0)) })
            if let contents { input.message(5, contents) }
        }
    }

    mutating func raw(_ bytes: [UInt8]) { writer.data(7, bytes) }

    func read() throws(KeelError) -> ModelInferRequest { try parse(writer.bytes) }
}

private func parse(_ bytes: [UInt8]) throws(KeelError) -> ModelInferRequest {
    let result: Result<ModelInferRequest, KeelError> = bytes.withUnsafeBytes { raw in
        do throws(KeelError) { return .success(try ModelInferRequest(raw)) } catch { return .failure(error) }
    }
    return try result.get()
}

private func bytes<T>(of value: T) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

@Suite("ModelInferRequest")
struct ModelInferRequestTests {
    @Test(
        "integers of every width come in the list of their datatype",
        arguments: [("INT8", 2), ("INT16", 2), ("INT32", 2), ("INT64", 3), ("UINT8", 4), ("UINT16", 4), ("UINT32", 4), ("UINT64", 5)])
    func integers(type: String, list: Int) throws {
        var maker = RequestMaker()
        maker.input("x", type, [2, 1]) { $0.varints(list, [0, 100]) }
        #expect(try maker.read().table.column("x") == Column(.int64, .int64([0, 100])))
        var misfit = RequestMaker()
        misfit.input("x", type, [2]) { $0.varints(list, [1, type == "INT64" ? 0 : type == "UINT64" ? .max : 1 << 40]) }
        if type == "INT64" { return }
        #expect { try misfit.read() } throws: { ($0 as? KeelError)?.path == "inputs[0].data[1]" }
    }

    @Test(
        "a shape with a size of 0 says no more values than another one: its other sizes count",
        arguments: [[0, 33_033_319, 44_440, 222_222_762], [0, 1 << 28, 2], [1, 0, 1 << 28, 2]])
    func emptyShapes(shape: [Int]) throws {
        var maker = RequestMaker()
        maker.input("x", "FP32", shape)
        #expect { try maker.read() } throws: { ($0 as? KeelError)?.path?.hasPrefix("inputs[0].shape[") == true }
        var few = RequestMaker()
        few.input("x", "FP32", [0, 3])
        #expect(try few.read().table["x"]?.type == .tensor(.float64, shape: [3]))
    }

    @Test("negative integers are ten bytes, and come back negative")
    func negative() throws {
        var maker = RequestMaker()
        maker.input("x", "INT32", [1]) { $0.varints(2, [UInt64(bitPattern: -7)]) }
        #expect(try maker.read().table.column("x") == Column(.int64, .int64([-7])))
    }

    @Test("floats, flags and texts come in their lists")
    func others() throws {
        var maker = RequestMaker()
        maker.input("f", "FP32", [1]) { $0.data(6, bytes(of: Float(0.5))) }
        maker.input("d", "FP64", [1]) { $0.data(7, bytes(of: 0.1)) }
        maker.input("b", "BOOL", [1]) { $0.varints(1, [1]) }
        maker.input("t", "BYTES", [1]) { $0.data(8, Array("grün".utf8)) }
        let table = try maker.read().table
        #expect(try table.column("f") == Column(.float64, .float64([0.5])))
        #expect(try table.column("d") == Column(.float64, .float64([0.1])))
        #expect(try table.column("b") == Column(.bool, .bool([true])))
        #expect(try table.column("t")[0] == .string("grün"))
    }

    @Test("raw contents go to the inputs in their order, and the rest of a shape is a tensor in each row")
    func raw() throws {
        var maker = RequestMaker()
        maker.input("a", "FP16", [2])
        maker.input("b", "INT16", [2, 2])
        maker.raw(bytes(of: (Float16(1.5), Float16(-2))))
        maker.raw(bytes(of: (Int16(1), Int16(2), Int16(3), Int16(-4))))
        let request = try maker.read()
        #expect(request.isRaw)
        #expect(try request.table.column("a") == Column(.float64, .float64([1.5, -2])))
        #expect(try request.table.column("b")[1] == .list([.int(3), .int(-4)]))
    }

    @Test("what a request says wrongly is refused with its place")
    func refused() {
        func failure(_ make: (inout RequestMaker) -> Void) -> String? {
            var maker = RequestMaker()
            make(&maker)
            do throws(KeelError) {
                _ = try maker.read()
                return nil
            } catch { return error.path ?? error.message }
        }
        let half = bytes(of: Float(1))
        #expect(failure { _ in } == "inputs")
        #expect(failure { $0.input("x", "FP23", [1]) } == "inputs[0].datatype")
        #expect(failure { $0.input("", "FP32", [1]) } == "inputs[0].name")
        #expect(failure { $0.input("x", "FP32", []) } == "inputs[0].shape")
        #expect(failure { $0.input("x", "FP32", [-1]) } == "inputs[0].shape[0]")
        #expect(failure { $0.input("x", "FP32", [1 << 20, 1 << 20]) } == "inputs[0].shape[1]")
        #expect(failure { $0.input("x", "FP32", [1 << 28, 0]) } == "inputs[0].shape[0]")
        #expect(failure { $0.input("x", "FP32", [2]) { $0.data(6, half) } } == "inputs[0].shape")
        #expect(failure { $0.input("x", "FP16", [1]) { $0.data(6, half) } } == "inputs[0].contents")
        #expect(failure { $0.input("x", "FP32", [1]) { $0.data(7, half + half) } } == "inputs[0].contents")
        #expect(failure { $0.input("x", "FP32", [1]) { $0.data(6, [1, 2, 3]) } } == "inputs[0].contents")
        #expect(failure { $0.input("x", "FP32", [1]) { $0.data(6, bytes(of: Float.infinity)) } } == "inputs[0].data[0]")
        #expect(
            failure { maker in
                maker.input("x", "FP32", [1])
                maker.input("y", "FP32", [1])
                maker.raw(half)
            } == "raw_input_contents")
        #expect(
            failure { maker in
                maker.input("x", "FP32", [1]) { $0.data(6, half) }
                maker.raw(half)
            } == "inputs[0].contents")
        #expect(failure { maker in for _ in 0..<2 { maker.input("x", "FP32", [1]) { $0.data(6, half) } } } == "inputs[1].name")
        #expect(
            failure { maker in
                maker.input("x", "FP32", [1]) { $0.data(6, half) }
                maker.input("y", "FP32", [2]) { $0.data(6, half + half) }
            } == "inputs[1].shape")
        #expect(
            failure { maker in
                maker.input("x", "FP32", [2])
                maker.raw(half)
            }?.hasPrefix("inputs[0]") == true)
    }

    @Test("the id names the rows, and the parameter ids names each; other parameters are the model's")
    func parameters() throws {
        func make(_ write: (inout ProtobufWriter) -> Void) throws -> ModelInferRequest {
            var maker = RequestMaker()
            write(&maker.writer)
            maker.input("x", "BOOL", [2]) { $0.varints(1, [0, 1]) }
            return try maker.read()
        }
        #expect(try make { $0.text(3, "r") }.ids == ["r/0", "r/1"])
        let request = try make { writer in
            writer.message(4) { entry in
                entry.text(1, "ids")
                entry.message(2) { $0.text(3, #"["a","b"]"#) }
            }
            writer.message(4) { entry in
                entry.text(1, "depth")
                entry.message(2) { $0.integer(2, 3) }
            }
            writer.message(4) { entry in
                entry.text(1, "sequence_id")
                entry.message(2) { $0.integer(2, 3) }
            }
        }
        #expect(request.ids == ["a", "b"])
        #expect(request.params == ["depth": 3])
        for text in ["a", "[1]", #"["a"]"#] {
            #expect {
                try make {
                    $0.message(4) { entry in
                        entry.text(1, "ids")
                        entry.message(2) { $0.text(3, text) }
                    }
                }
            } throws: { ($0 as? KeelError)?.path == "parameters.ids" }
        }
    }

    @Test("the target is found at the beginning, of a message cut off behind it too")
    func target() throws {
        var maker = RequestMaker(model: "delay@staging")
        maker.writer.text(2, "7")
        maker.input("x", "FP32", [1]) { $0.data(6, bytes(of: Float(1))) }
        for length in [maker.writer.bytes.count, 20, 25] {
            let target = try maker.writer.bytes.prefix(length).withUnsafeBytes { try ModelInferRequest.Target($0) }
            #expect(target.model == "delay@staging")
            #expect(target.version == "7")
        }
        #expect(throws: KeelError.self) { try [UInt8]().withUnsafeBytes { try ModelInferRequest.Target($0) } }
    }

    /// Bytes of a message changed, cut and doubled at random: each is read or refused, and what is read has the rows that it says.
    @Test("no bytes end the process", arguments: [UInt64(1), 2, 3])
    func fuzz(seed: UInt64) {
        var random = Seeded(seed)
        var maker = RequestMaker()
        maker.writer.text(3, "id")
        maker.writer.message(4) { entry in
            entry.text(1, "depth")
            entry.message(2) { $0.integer(2, 3) }
        }
        maker.input("f", "FP32", [2]) { $0.data(6, bytes(of: (Float(1), Float(2)))) }
        maker.input("i", "INT32", [2, 2]) { $0.varints(2, [1, 2, 3, UInt64(bitPattern: -4)]) }
        maker.input("t", "BYTES", [2]) { contents in for text in ["a", "grün"] { contents.data(8, Array(text.utf8)) } }
        var raw = RequestMaker()
        raw.input("x", "BF16", [2])
        raw.input("t", "BYTES", [2])
        raw.raw([0, 1, 0, 2])
        raw.raw([1, 0, 0, 0, 65, 2, 0, 0, 0, 66, 67])
        let seeds = [maker.writer.bytes, raw.writer.bytes]
        var read = 0
        for _ in 0..<40_000 {
            var bytes = seeds[Int.random(in: 0...1, using: &random)]
            for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0...4, using: &random) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes[at] ^= 1 << UInt8.random(in: 0...7, using: &random)
                case 2: bytes.removeSubrange(at...)
                case 3: bytes.insert(contentsOf: bytes[at...].prefix(Int.random(in: 1...40, using: &random)), at: at)
                default: bytes.remove(at: at)
                }
            }
            _ = try? bytes.withUnsafeBytes { try ModelInferRequest.Target($0) }
            guard let request = try? parse(bytes) else { continue }
            read += 1
            #expect(request.table.columns.allSatisfy { $0.count == request.table.rowCount })
        }
        #expect(read > 100)
    }
}
