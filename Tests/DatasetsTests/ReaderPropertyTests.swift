import Contracts
import Datasets
import Foundation
import TestSupport
import Testing

@Suite struct ReaderPropertyTests {
    private let spec =
        #"{"nulls": ["NA"], "columns": [{"name": "n", "type": "int64"}, {"name": "a", "type": "string", "nullable": true}, {"name": "b", "type": "float64", "nullable": true}]}"#

    @Test(arguments: 1...8) func whateverIsWrittenAsCSVIsReadBack(_ seed: UInt64) async throws {
        var random = Seeded(seed)
        let estate = try await Estate([try dataset("t", spec)])
        let alphabet = ["a", "b", "\"", ",", "\n", "\r\n", "é", "😀", " ", "NA"]
        var (text, expected) = ("n,a,b" + ["\n", "\r\n"][Int(seed % 2)], [(String?, Double?)]())
        for i in 0..<500 {
            let a: String? =
                Int.random(in: 0..<8, using: &random) == 0
                ? nil
                : (0..<Int.random(in: 0..<6, using: &random)).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &random)] }
                    .joined()
            let b: Double? = Bool.random(using: &random) ? nil : Double.random(in: -1e9...1e9, using: &random)
            let quoted = a.map { "\"" + $0.replacingOccurrences(of: "\"", with: "\"\"") + "\"" } ?? "NA"
            text += "\(i),\(quoted),\(b.map { "\($0)" } ?? "NA")" + ["\n", "\r\n"][Int(seed % 2)]
            expected.append((a, b))
        }
        let report = try await estate.ingest("t", csv: text)
        #expect(report.rows == 500)
        let table = try await estate.read("t")
        for (i, row) in expected.enumerated() {
            #expect(table["a"]?[i] == (row.0.map(Value.string) ?? .null))
            #expect(table["b"]?[i] == (row.1.map(Value.double) ?? .null))
        }
    }

    /// Damaged files of every kind: an error or a report whose rows add up, never a crash.
    @Test(arguments: 1...4) func damagedFilesNeverCrash(_ seed: UInt64) async throws {
        var random = Seeded(seed)
        let estate = try await Estate([try dataset("t", spec)])
        let csv = Array(("n,a,b\n" + (0..<40).map { "\($0),\"x \($0)\",\($0).5\n" }.joined()).utf8)
        let lines = Array((0..<40).map { #"{"n": \#($0), "a": "x\\u0041", "b": 1.5}"# + "\n" }.joined().utf8)
        let plain = try estate.file("base.csv", csv)
        try python(
            "import gzip,sys; open(sys.argv[2],'wb').write(gzip.compress(open(sys.argv[1],'rb').read()))",
            [plain, estate.home + "/base.gz"])
        try python(
            "import zipfile,sys; z=zipfile.ZipFile(sys.argv[2],'w',zipfile.ZIP_DEFLATED); z.write(sys.argv[1],'t.csv'); z.close()",
            [plain, estate.home + "/base.zip"])
        let bases: [(String, [UInt8])] = [
            ("f.csv", csv), ("f.jsonl", lines), ("f.csv.gz", Array(try Data(contentsOf: URL(fileURLWithPath: estate.home + "/base.gz")))),
            ("f.zip", Array(try Data(contentsOf: URL(fileURLWithPath: estate.home + "/base.zip")))),
        ]
        for round in 0..<40 {
            var (name, bytes) = bases[round % bases.count]
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes[at] = [34, 10, 13, 44, 123, 0][Int.random(in: 0..<6, using: &random)]
                case 2: bytes.insert(34, at: at)
                default: if bytes.count > 40 { bytes.removeLast(min(20, bytes.count - at)) }
                }
            }
            name = "\(round)-\(name)"
            let path = try estate.file(name, bytes)
            if let report = try? await estate.ingest("t", path) { #expect(report.rows + report.quarantined <= 200) }
        }
    }
}
