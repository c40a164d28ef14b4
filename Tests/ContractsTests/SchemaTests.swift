import Contracts
import Testing

@Suite("Schemas as JSON")
struct SchemaTests {
    private let schema = Schema(
        [
            Field("carrier", .string, oneOf: ["UA", "AA"]), Field("at", .timestamp), Field("distance", .float64, minimum: 1, unit: "mile"),
            Field("tail", .string, nullable: true, pattern: "N.*", personal: true), Field("v", .list(.float32), nullable: true),
        ], key: ["carrier", "at"], eventTime: "at")

    @Test("a contract comes back as it was, and a bad one is refused with its place")
    func schemas() throws {
        #expect(try Schema(json: JSON.parse(schema.json.bytes)) == schema)
        let misspelt = #expect(throws: KeelError.self) { try Schema(json: ["columns": [["name": "a", "type": "flot64"]]]) }
        #expect(misspelt?.path == "schema.columns[0].type" && misspelt?.hint == "did you mean 'float64'?")
        let swapped: JSON = ["columns": [["name": "a", "type": "int64", "range": [3, 1]]]]
        #expect(throws: KeelError.self) { try Schema(json: swapped) }
        // What was stored with data is read as it is.
        #expect(try Schema(stored: swapped)["a"]?.minimum == 3)
        #expect(throws: KeelError.self) { try Schema(json: ["columns": [["name": "a", "type": "bool"]], "eventTime": "b"]) }
    }

    @Test("lists may lie in lists; a type of more than 200 bytes is none, however deep it is")
    func nestedTypes() throws {
        let deep = String(repeating: "list<", count: 32) + "bool" + String(repeating: ">", count: 32)
        #expect(try DataType(parsing: deep).description == deep)
        let deeper = String(repeating: "list<", count: 100_000) + "bool" + String(repeating: ">", count: 100_000)
        let error = #expect(throws: KeelError.self) { try Schema(json: ["columns": [["name": "a", "type": .string(deeper)]]]) }
        #expect(error?.path == "schema.columns[0].type")
    }
}
