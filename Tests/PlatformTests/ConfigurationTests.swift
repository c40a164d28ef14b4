import Contracts
import Foundation
import OpenIDConnect
import Platform
import Testing
import Workers

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

    private static func file(_ text: String) throws -> String {
        let path = NSTemporaryDirectory() + "/keel-\(UUID().uuidString).yaml"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    @Test("identity providers come from the file and from variables, which win")
    func issuers() throws {
        let file = try Self.file(
            """
            oidc:
              internal: true
              issuers:
                people:
                  url: https://login.example.com/realms/company
                  audience: [keel, keel-console]
                  groups: realm_access.roles
                  age: 10m
                  algorithms: [RS256]
                k8s-prod:
                  url: https://kubernetes.default.svc
                  audience: [keel]
                  workspace: training
            """)
        let loaded = try KeelConfiguration.load(
            file: file,
            environment: [
                "KEEL_OIDC_ISSUERS_K8S_PROD_SKEW": "10s", "KEEL_OIDC_ISSUERS_CI_URL": "https://ci.example.com",
                "KEEL_OIDC_ISSUERS_CI_AUDIENCE": "a,b", "KEEL_URL": "http://client.example.com",
            ], overrides: [:])
        #expect(loaded.issuersInternal)
        #expect(
            loaded.issuers == [
                try OpenIDIssuer(
                    name: "k8s-prod", url: "https://kubernetes.default.svc", audiences: ["keel"], skew: .seconds(10),
                    workspace: try WorkspaceID("training")),
                try OpenIDIssuer(
                    name: "people", url: "https://login.example.com/realms/company", audiences: ["keel", "keel-console"],
                    groupsClaim: "realm_access.roles", groupsAge: .seconds(600), algorithms: [.rs256]),
                try OpenIDIssuer(name: "ci", url: "https://ci.example.com", audiences: ["a", "b"]),
            ])
        #expect(try KeelConfiguration.load(file: nil, environment: [:], overrides: [:]).issuers.isEmpty)
    }

    @Test(
        "settings of identity providers that cannot be meant are refused with their name",
        arguments: [
            ("{ a: { url: 'https://a.example.com' } }", "oidc.issuers.a.audience"),
            ("{ a: { url: 'http://a.example.com', audience: [k] } }", "oidc.issuers.a.url"),
            ("{ a: { audience: [k] } }", "oidc.issuers.a.url"),
            ("{ 'a:b': { url: 'https://a.example.com', audience: [k] } }", "oidc.issuers.a:b.name"),
            ("{ a: { url: 'https://a.example.com', audience: [k], skew: soon } }", "oidc.issuers.a.skew"),
            ("{ a: { url: 'https://a.example.com', audience: [k], skew: 1h } }", "oidc.issuers.a.skew"),
            ("{ a: { url: 'https://a.example.com', audience: [k], age: 2d } }", "oidc.issuers.a.age"),
            ("{ a: { url: 'https://a.example.com', audience: [k], workspace: X } }", "oidc.issuers.a.workspace"),
            ("{ a: { url: 'https://a.example.com', audience: [k], algorithms: [none] } }", "oidc.issuers.a.algorithms"),
            ("{ a: { url: 'https://a.example.com', audience: [k], algorithms: [HS256] } }", "oidc.issuers.a.algorithms"),
            ("{ a: { url: 'https://a.example.com', audience: [k], algorithms: [] } }", "oidc.issuers.a.algorithms"),
            (
                "{ a: { url: 'https://a.example.com', audience: [k] }, b: { url: 'https://a.example.com', audience: [k] } }",
                "oidc.issuers.b.url"
            ),
            (
                "{ a-b: { url: 'https://a.example.com', audience: [k] }, A_B: { url: 'https://b.example.com', audience: [k] } }",
                "oidc.issuers.a-b"
            ),
        ])
    func wrongIssuers(issuers: String, path: String) throws {
        let file = try Self.file("oidc: { issuers: \(issuers) }")
        let error = #expect(throws: KeelError.self) { _ = try KeelConfiguration.load(file: file, environment: [:], overrides: [:]) }
        #expect(error?.path == path, "\(String(describing: error))")
    }

    @Test("a misspelt setting of an identity provider is refused where it stands, in a file and in a variable")
    func misspelt() throws {
        for (text, words) in [
            ("oidc: { issuers: { a: { uri: 'https://a.example.com' } } }", "unknown setting 'oidc.issuers.a.uri'"),
            ("oidc: { issuer: { a: 1 } }", "unknown setting 'oidc.issuer.a'"), ("oidc: { issuers: { a: {} } }", "'a' has no settings"),
            ("oidc: { issuers: { a: { audience: k } } }", "has a value of another type"),
            ("oidc: { issuers: { a.b: { url: x } } }", "unknown setting 'oidc.issuers.a.b.url'"),
        ] {
            let file = try Self.file(text)
            let error = #expect(throws: KeelError.self) { _ = try KeelConfiguration.load(file: file, environment: [:], overrides: [:]) }
            #expect(error?.message.contains(words) == true && error?.path == "\(file):1", "\(String(describing: error))")
        }
        for variable in ["KEEL_OIDC_ISSUERS_A_URI", "KEEL_OIDC_ISSUERS_URL", "KEEL_OIDC_INTERNALS", "KEEL_OIDC_ISSUERS__URL"] {
            let error = #expect(throws: KeelError.self) {
                _ = try KeelConfiguration.load(file: nil, environment: [variable: "x"], overrides: [:])
            }
            #expect(error?.path == variable)
        }
    }

    @Test("users of models are picked, or begin where the setting says, or are off; anything else is refused")
    func usersOfModels() throws {
        func users(_ text: String) throws -> ProgramUsers.Choice {
            let file = try Self.file("serving: { python: { users: \(text) } }")
            return try KeelConfiguration.load(file: file, environment: [:], overrides: [:]).pythonUsers
        }
        #expect(try KeelConfiguration.load(file: nil, environment: [:], overrides: [:]).pythonUsers == .automatic)
        #expect(try users("auto") == .automatic)
        #expect(try users("off") == .off)
        #expect(try users("70000") == .from(70_000))
        for text in ["0", "999", "-5", "nobody", "1e9", "4294967295", "99999999999"] {
            let error = #expect(throws: KeelError.self, "\(text)") { _ = try users(text) }
            #expect(error?.path == "serving.python.users")
        }
    }
}
