import Contracts
import Testing

import Platform

@Suite("Addresses that may be called")
struct OutgoingTests {
    @Test(
        "addresses of this machine, of networks and of special ranges are not public, in whatever notation",
        arguments: [
            "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255",
            "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
            "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:192.168.0.1", "64:ff9b::10.0.0.1",
            "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "3fff::1", "fc00::1", "fd12::1",
            "fe80::1", "fec0::1", "ff02::1", "4000::1", "5f00::1",
        ])
    func internalAddresses(text: String) throws {
        #expect(try #require(NetworkAddress(literal: text)).isPublic == false)
    }

    @Test(
        "others are",
        arguments: ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "198.17.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::"])
    func publicAddresses(text: String) throws {
        #expect(try #require(NetworkAddress(literal: text)).isPublic)
    }

    @Test("legacy spellings of numbers are no literals", arguments: ["127.1", "0177.0.0.1", "2130706433", "0x7f.0.0.1", "127.0.0.1.", "1.2.3.4.5", ""])
    func spellings(text: String) {
        #expect(NetworkAddress(literal: text) == nil)
    }

    @Test("a host is resolved by the system, and refused when any of its addresses is internal")
    func resolved() async throws {
        let target = try OutgoingTarget("https://localhost:8443/x", schemes: ["https"])
        #expect(target.host == "localhost")
        await #expect(throws: KeelError.self) { _ = try await target.address(allowsInternal: false) }
        let address = try await target.address(allowsInternal: true)
        #expect(!address.isPublic)
    }
}

@Suite("MLmodel files")
struct ModelFileTests {
    @Test("flavours, signature and the rest")
    func parsed() throws {
        let facts = ModelFile.parse(
            Array(
                """
                flavors:
                  python_function:
                    loader_module: mlflow.sklearn
                  sklearn:
                    sklearn_version: 1.5
                mlflow_version: 3.17.2
                model_size_bytes: 1234
                model_uuid: abc
                run_id: r1
                model_id: m-1
                saved_input_example_info:
                  artifact_path: input_example.json
                  type: dataframe
                signature:
                  inputs: '[{"type": "double", "name": "x", "required": true}, {"type": "long", "name": "n", "required": false}]'
                  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]'
                  params: null
                """.utf8))
        #expect(facts.problem == nil && facts.flavors == ["python_function", "sklearn"] && facts.bytes == 1234 && facts.uuid == "abc")
        #expect(facts.inputExample == "input_example.json" && facts.runID == "r1" && facts.modelID == "m-1")
        let signature = try #require(facts.signature)
        #expect(signature.inputs == [.init("x", .float64, nullable: false), .init("n", .int64)])
        #expect(signature.outputs == [.init("output", .tensor(.float32, shape: [-1, 2]))])
        #expect(try type(of: facts).init(json: facts.json) == facts)
    }

    @Test("a column type that the contract has no word for is kept as written, and there is no signature")
    func unknown() {
        let facts = ModelFile.parse(Array(#"signature: {inputs: '[{"type": "object", "name": "o", "properties": {}}]', outputs: null}"#.utf8))
        #expect(facts.inputs.map(\.type) == [nil] && facts.inputs[0].written.contains("properties") && facts.signature == nil)
    }

    @Test("hostile files are a problem that is told", arguments: ["a: [", "- ", "\u{0}", "*a "].map { String(repeating: $0, count: 50_000) } + ["x", ""])
    func hostile(text: String) {
        #expect(ModelFile.parse(Array(text.utf8)).problem != nil)
    }
}
