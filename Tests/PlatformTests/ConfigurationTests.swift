import Contracts
import Platform
import Testing

@Suite("Configuration")
struct ConfigurationTests {
    @Test("sizes of memory", arguments: [("2GiB", 2 << 30), ("512MiB", 512 << 20), ("300 MB", 300_000_000), ("1024", 1024), ("7kb", 7000)])
    func sizes(text: String, bytes: Int) { #expect(MachineMemory.bytes(text) == bytes) }

    @Test("what is no size", arguments: ["", "GiB", "-1", "1.5GiB", "2 TiB", "99999999999999999999", "9999999999999GiB", "0x10"])
    func noSizes(text: String) { #expect(MachineMemory.bytes(text) == nil) }

    @Test(
        "settings of the server that cannot be meant are refused with their name",
        arguments: [
            (["KEEL_AUTH_LOCAL": "maybe"], "auth.local"), (["KEEL_AUTH_REQUIRED": "true"], "KEEL_AUTH_REQUIRED"),
            (["KEEL_MEMORY_BUDGET": "1MiB"], "memory.budget"), (["KEEL_TLS_KEY": "a"], "tls.certificate"),
            (["KEEL_TLS_CERTIFICATE": "a"], "tls.key"), (["KEEL_TLS_AUTHORITIES": "a"], "tls.certificate"),
        ])
    func settings(environment: [String: String], path: String) throws {
        do {
            _ = try KeelConfiguration.load(file: nil, environment: environment, overrides: [:])
            Issue.record("\(environment) was taken")
        } catch { #expect(error.path == path) }
    }

    @Test("the address of the client's server is not taken for the server's own")
    func address() throws {
        let client = try KeelConfiguration.load(file: nil, environment: ["KEEL_URL": "http://elsewhere:1"], overrides: [:])
        #expect(client.url == "http://127.0.0.1:7070")
        let own = try KeelConfiguration.load(file: nil, environment: ["KEEL_PUBLIC_URL": "https://keel.example.com"], overrides: [:])
        #expect(own.url == "https://keel.example.com")
    }

    @Test("auth.local is read as a word or a truth", arguments: [("off", false), ("false", false), ("on", true), ("true", true)])
    func local(text: String, trusts: Bool) throws {
        #expect(try KeelConfiguration.load(file: nil, environment: ["KEEL_AUTH_LOCAL": text], overrides: [:]).trustsLocalOwner == trusts)
    }
}
