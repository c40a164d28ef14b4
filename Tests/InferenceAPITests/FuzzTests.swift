import Contracts
import Foundation
import InferenceAPI
import TestSupport
import Testing

/// Every parser of bytes that anyone may send: whatever comes, it answers or refuses, and what it answers holds together.
@Suite("Damaged requests")
struct FuzzTests {
    private static let pieces = ["[", "]", "0", "-", "\"", "{", "}", ",", "e9", "null", "\\u"].map { Array($0.utf8) }

    /// Cut, changed, repeated and joined parts of the seeds.
    private static func damaged(_ seeds: [[UInt8]], _ random: inout Seeded) -> [UInt8] {
        let seed = seeds[Int.random(in: 0..<seeds.count, using: &random)]
        var bytes = Int.random(in: 0..<4, using: &random) == 0 ? Array(seed.prefix(Int.random(in: 0...seed.count, using: &random))) : seed
        for _ in 0..<Int.random(in: 0...5, using: &random) where !bytes.isEmpty {
            let at = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes[at] = .random(in: .min ... .max, using: &random)
            case 1: bytes.remove(at: at)
            case 2: bytes.insert(contentsOf: pieces[Int.random(in: 0..<pieces.count, using: &random)], at: at)
            case 3:
                let other = seeds[Int.random(in: 0..<seeds.count, using: &random)]
                let start = Int.random(in: 0..<other.count, using: &random)
                bytes.insert(contentsOf: other[start..<min(other.count, start + 20)], at: at)
            default: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
        }
        return bytes
    }

    /// A table is whole: its columns have as many rows as it, and each row can be read.
    private static func expectWhole(_ table: Table) {
        #expect(table.columns.allSatisfy { $0.count == table.rowCount })
        for i in 0..<min(table.rowCount, 50) { _ = table.row(i) }
    }

    private static let fields = [Field("a", .float64), Field("b", .bytes), Field("c", .list(.string)), Field("t", .tensor(.float32, shape: [2, -1]))]

    @Test("JSON and binary tensors")
    func tensors() {
        let json = [
            #"{"id":"x","parameters":{"ids":["a","b"],"k":[1,{"z":null}]},"inputs":[{"name":"a","shape":[2],"datatype":"FP64","data":[1.5,null]}]}"#,
            #"{"inputs":[{"data":[["q\u0041"],["é"]],"name":"b","shape":[2,1],"datatype":"BYTES"}]}"#,
            #"{"inputs":[{"name":"c","shape":[2],"datatype":"BOOL","data":[true,false]},{"name":"d","shape":[2],"datatype":"INT8","data":[1,-1]}]}"#,
            #"{"inputs":[{"name":"t","shape":[2,2,2],"datatype":"INT32","data":[[[1,2],[3,4]],[[5,6],[7,8]]]}],"outputs":[{"name":"o"}]}"#,
            #"{"inputs":[],"outputs":[{"name":"o","parameters":{"binary_data":true,"classification":2}}]}"#,
        ].map { Array($0.utf8) }
        let types = ["BOOL", "UINT8", "INT16", "UINT64", "FP16", "BF16", "FP32", "FP64", "BYTES"]
        var random = Seeded(20_261)
        for _ in 0..<60_000 {
            let bytes = Self.damaged(json, &random)
            if let request = try? bytes.withUnsafeBufferPointer({ try InferRequest(parsing: $0) }) { Self.expectWhole(request.table) }
        }
        for _ in 0..<60_000 {
            let type = types[Int.random(in: 0..<types.count, using: &random)]
            let shape = (0..<Int.random(in: 1...3, using: &random)).map { _ in Int.random(in: 0...4, using: &random) }
            let data = (0..<Int.random(in: 0...64, using: &random)).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            let size = Bool.random(using: &random) ? data.count : Int.random(in: 0...70, using: &random)
            let head = Array(#"{"inputs":[{"name":"a","shape":\#(shape),"datatype":"\#(type)","parameters":{"binary_data_size":\#(size)}}]}"#.utf8)
            let length = Int.random(in: 0..<8, using: &random) == 0 ? Int.random(in: -2...200, using: &random) : head.count
            if let request = try? (head + data).withUnsafeBufferPointer({ try InferRequest(parsing: $0, headerBytes: length) }) {
                Self.expectWhole(request.table)
            }
        }
    }

    @Test("MLflow's scoring protocol, V1 and Keel's own")
    func scoring() {
        let seeds = [
            #"{"dataframe_split":{"columns":["a","b","c"],"index":[0,1],"data":[[1.5,"YQ==",["x"]],[NaN,null,[]]]},"params":{"k":1}}"#,
            #"{"dataframe_records":[{"a":1,"b":"AAH/","c":["x","y"]},{"a":null,"t":[[1],[2]]}]}"#,
            #"{"instances":[[1,"YQ==",["x"],[[1,2],[3,4]]],[2,"YQ==",[],[[1,2],[3,4]]]]}"#, #"{"inputs":{"a":[1,2.5],"t":[[[1],[2]],[[3],[4]]]}}"#,
            #"{"instances":[{"a":{"b64":"AP8="},"b":1}],"signature_name":""}"#,
            #"{"rows":[{"a":1,"b":"YQ=="},{"c":["x"]}],"ids":["p","q"],"params":{"k":null},"features":true}"#,
        ].map { Array($0.utf8) }
        var random = Seeded(20_262)
        for _ in 0..<60_000 {
            let bytes = Self.damaged(seeds, &random)
            if let table = try? Invocation(parsing: bytes, fields: Self.fields).table { Self.expectWhole(table) }
            if let table = try? V1Request(parsing: bytes, fields: Self.fields).table { Self.expectWhole(table) }
            if let table = try? PredictRequest(parsing: bytes, fields: Self.fields).table { Self.expectWhole(table) }
        }
    }

    @Test("CSV")
    func commas() {
        let seeds = ["a,b,c\n1,x,2\n2.5,\"y, \"\"z\"\"\",\n,,\n", ",a,t\r\n0,True,NaN\r\n1,False,-inf\r\n", "\u{feff}a\n1e5\nNA\n\n"].map { Array($0.utf8) }
        var random = Seeded(20_263)
        for _ in 0..<80_000 {
            let bytes = Self.damaged(seeds, &random)
            if let table = try? Invocation(csv: bytes, fields: Self.fields).table { Self.expectWhole(table) }
        }
    }
}
