import Contracts
import Testing
import TestSupport

@Suite("Names of workspaces and things")
struct ReferenceTests {
    @Test("a thing's text names it again", arguments: EnvironmentName.allCases)
    func roundTrip(environment: EnvironmentName) throws {
        let endpoint = ResourceRef("Endpoint", "delay", environment: environment)
        #expect(ResourceRef(subject: endpoint.subject, in: .default) == endpoint)
        #expect(endpoint.subject == (environment == .production ? "Endpoint/delay" : "Endpoint/delay@\(environment.rawValue)"))
        // Names of models may hold anything.
        let model = ResourceRef("Model", "a@staging/b")
        #expect(ResourceRef(subject: model.subject, in: .default) == model)
    }

    @Test(
        "what cannot name a workspace is refused",
        arguments: ["", "a", "A-b", "-ab", "ab-", "a_b", "a/b", "a\u{0}b", "workspaces", String(repeating: "a", count: 64)])
    func workspaces(name: String) {
        #expect(throws: KeelError.self) { try WorkspaceID(name) }
    }

    @Test("a pattern of names matches what a plain search over all splits says")
    func patterns() throws {
        var random = Seeded(7)
        func text(_ alphabet: [Character], _ most: Int) -> String {
            String((0..<Int.random(in: 1...most, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? "a" })
        }
        func oracle(_ pattern: Substring, _ name: Substring) -> Bool {
            guard let first = pattern.first else { return name.isEmpty }
            if first == "*" {
                return oracle(pattern.dropFirst(), name) || (!name.isEmpty && oracle(pattern, name.dropFirst()))
            }
            return name.first == first && oracle(pattern.dropFirst(), name.dropFirst())
        }
        for _ in 0..<5000 {
            let (pattern, name) = (text(["a", "b", "*"], 6), text(["a", "b"], 7))
            #expect(try NamePattern(pattern, path: "").matches(name) == oracle(pattern[...], name[...]), "\(pattern) \(name)")
        }
    }

    @Test("a stored caller is the same when it is read")
    func stored() throws {
        let scope = PermissionScope(
            environments: [.staging], kinds: ["Endpoint"], names: [try NamePattern("a*", path: "")],
            resources: [ResourceRef("Endpoint", "ab", environment: .staging)])
        let caller = Caller(
            name: "people:dana", persona: .member, actors: ["agent", "tool"],
            permissions: [Permission([.predict, .ledgerRead], in: scope, from: "RoleBinding/x")],
            ceilings: [Permission([.predict], from: "Token/t")])
        #expect(try Caller(json: try JSON.parse(caller.json.text)) == caller)
    }
}
