import Contracts
import Serving
import Testing

@Suite("Places of queries") struct QueryPlacesTests {
    private let ann = Caller(name: "ann", persona: .dataScientist)
    private let bob = Caller(name: "bob", persona: .dataScientist)
    private let cid = Caller(name: "cid", persona: .dataScientist)

    @Test("two callers with all that each may run leave a place for a third, who gets it")
    func shares() throws {
        var places = QueryPlaces()
        let other = Caller(name: "eve", persona: .dataScientist, workspace: WorkspaceID(stored: "other"))
        try places.take(for: ann)
        try places.take(for: ann)
        #expect(throws: KeelError.self) { try places.take(for: ann) }
        try places.take(for: bob)
        // The workspace has its share.
        let full = #expect(throws: KeelError.self) { try places.take(for: cid) }
        #expect(full?.code == .tooManyRequests && full?.message.contains("workspace") == true)
        // The last place is not for one who runs something.
        try places.take(for: other)
        #expect(throws: KeelError.self) { try places.take(for: other) }
        places.give(of: ann)
        try places.take(for: cid)
    }

    @Test("the last place is for a caller that runs nothing, and the same one in several workspaces is one")
    func lastPlace() throws {
        let workspaces = ["a", "b", "c"].map { WorkspaceID(stored: $0) }
        var places = QueryPlaces()
        func caller(_ name: String, _ i: Int) -> Caller { Caller(name: name, persona: .dataScientist, workspace: workspaces[i]) }
        try places.take(for: caller("ann", 0))
        try places.take(for: caller("ann", 1))
        #expect(throws: KeelError.self) { try places.take(for: caller("ann", 2)) }
        try places.take(for: caller("bob", 1))
        #expect(throws: KeelError.self) { try places.take(for: caller("bob", 2)) }
        try places.take(for: caller("cid", 2))
        let error = #expect(throws: KeelError.self) { try places.take(for: caller("dan", 2)) }
        #expect(error?.code == .tooManyRequests)
        places.give(of: caller("bob", 1))
        try places.take(for: caller("dan", 2))
    }
}
