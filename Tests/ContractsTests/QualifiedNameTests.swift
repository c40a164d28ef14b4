import Contracts
import Testing

@Suite("Names with their environment and workspace")
struct QualifiedNameTests {
    @Test("a name in a path, in a table and in the journal names the thing again", arguments: EnvironmentName.allCases)
    func roundTrip(environment: EnvironmentName) throws {
        for workspace in [WorkspaceID.default, WorkspaceID(stored: "fraud")] {
            let endpoint = ResourceRef("Endpoint", "delay", environment: environment, in: workspace)
            #expect(try ResourceRef("Endpoint", qualifiedName: endpoint.qualifiedName, in: workspace) == endpoint)
            #expect(ResourceRef("Endpoint", stored: endpoint.qualifiedName, in: workspace) == endpoint)
            #expect(ResourceRef("Endpoint", fullName: endpoint.fullName) == endpoint)
        }
        #expect(ResourceRef("Endpoint", "delay").fullName == "delay")
        #expect(ResourceRef("Endpoint", "delay", environment: .staging, in: WorkspaceID(stored: "fraud")).fullName == "fraud:delay@staging")
        // Production may be named.
        #expect(try ResourceRef("Endpoint", qualifiedName: "delay@production", in: .default) == ResourceRef("Endpoint", "delay"))
    }

    @Test("what is no environment or no name is refused where people write it", arguments: ["delay@stagin", "delay@", "@staging", "a b", "a@b@staging", ""])
    func wrong(text: String) {
        let error = #expect(throws: KeelError.self) { try ResourceRef("Endpoint", qualifiedName: text, in: .default, path: "from") }
        #expect(error?.path == "from")
        // Unchecked it names nothing that there is.
        #expect(ResourceRef("Endpoint", stored: "delay@stagin", in: .default).name == "delay@stagin")
    }

    @Test("only kinds that live in an environment have one")
    func kinds() {
        #expect(ResourceRef("Dataset", "clicks", environment: .staging) == ResourceRef("Dataset", "clicks"))
        #expect(ResourceRef("Monitor", "clicks").environment == .production)
    }

    @Test("a grant for a thing of another workspace than the caller's is not made")
    func grants() {
        let owner = Caller(name: "ada", persona: .owner)
        let error = #expect(throws: KeelError.self) {
            try Grant.check(owner, may: .releasesDeploy, on: ResourceRef("Endpoint", "delay", in: WorkspaceID(stored: "fraud")))
        }
        #expect(error?.code == .internal)
    }
}
