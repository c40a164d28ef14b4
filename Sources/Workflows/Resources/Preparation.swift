import Contracts
import Governance
import Storage

/// What a kind has made ready for a set of resources. Exactly one of `activate` and `discard` is called.
package protocol Prepared: Sendable {
    /// Writes what belongs to the declarations, in the transaction that stores them.
    func store(_ tx: Transaction) throws
    /// Puts it in force. Cannot fail.
    func activate() async
    /// Gives it up: what was in force stays.
    func discard() async
}

extension Prepared {
    package func store(_ tx: Transaction) throws {}
    package func discard() async {}
}

/// What the kinds see while a set of resources is made ready, and what they have made ready so far.
package struct Preparation: Sendable {
    package let declared: Declarations
    package let modules: Modules
    /// Whether the server starts: then what the last run left may be gone on with, and what cannot be read leaves out nothing but itself.
    package let isStart: Bool
    /// Who applied a resource as it is in this set, by its kind and name.
    package let author: @Sendable (_ kind: String, _ name: String) async throws -> String?
    package var workspace: WorkspaceID { declared.workspace }
    package private(set) var parts: [any Prepared] = []
    /// What cannot be put in force, as `Kind/name`, each with the reason.
    package private(set) var failures: [(subject: String, error: KeelError)]

    init(
        _ declared: Declarations, _ modules: Modules, isStart: Bool, failures: [(subject: String, error: KeelError)],
        author: @escaping @Sendable (_ kind: String, _ name: String) async throws -> String?
    ) {
        self.declared = declared
        self.modules = modules
        self.isStart = isStart
        self.failures = failures
        self.author = author
    }

    package mutating func add(_ part: some Prepared) { parts.append(part) }

    /// Notes that a resource, or something that it needs, cannot be put in force; the others can.
    package mutating func fail(_ subject: String, _ error: KeelError) { failures.append((subject, error)) }

    /// What a kind before this one has prepared.
    package func part<Part: Prepared>(_ type: Part.Type) -> Part? { parts.lazy.compactMap { $0 as? Part }.first }
}
