import Contracts

/// A kind of resource, and everything that Keel has to know of it.
///
/// The type that decodes the kind's spec conforms, in one file of its own in `Kinds/`, and one line in `ResourceKinds.all` registers it. Only the first
/// two requirements have no default: a kind says what is special about it and nothing else. `docs/extending.md` walks through adding one.
package protocol ResourceKind: Sendable {
    /// The kind's name and its fields: the reference, `keel schema` and the list of all mistakes are made from it.
    static var schema: KindSchema { get }
    /// Decodes one resource by itself. An unknown field is an error.
    init(resource: Resource) throws(KeelError)

    // MARK: Checked before anything changes

    /// Other resources that this one names. `delete` refuses to take away what is named.
    var references: [ResourceReference.Target] { get }
    /// What the caller must be allowed besides `resources.apply` to declare this, such as `pipelines.run` for what will run code.
    /// - Parameter current: the declaration in whose place it comes; nil when it is new, or is deleted.
    func permissions(replacing current: Resource?, _ modules: Modules) -> [Action]
    /// Whether a resource goes on acting in the name of whoever applied it, with all that this one may do. Agents, who may do less, cannot apply such.
    static var actsForItsAuthor: Bool { get }
    /// What is wrong with the kind's resources beside the others, besides names of resources that are not there. Each path begins with the resource.
    static func mistakes(_ scrutiny: Scrutiny) -> [KeelError]
    /// What a change of a resource to this declaration does to data that is there, a sentence each. `keel plan` shows it.
    static func effects(of resource: Resource, in declared: Declarations, _ modules: Modules) async throws -> [String]

    /// What would not work as its author may think, a sentence each. `keel plan` shows it.
    static func warnings(of resource: Resource, in declared: Declarations, _ modules: Modules) async throws -> [String]

    /// What others may do by it: nobody gives what they may not do themselves.
    func given(among declared: Declarations) -> Set<Action>

    // MARK: Put in force

    /// Makes the kind's resources ready: opens, loads, allocates. It may fail, and changes nothing that others see. What it made it adds to
    /// `preparation` as a `Prepared`, whose `activate` cannot fail.
    ///
    /// Kinds are prepared in the order of `ResourceKinds.inOrderOfPreparation`, so each finds what those before it have prepared.
    static func prepare(_ preparation: inout Preparation) async throws

    // MARK: Shown and deleted

    /// What the server knows of a resource besides its declaration, for `keel describe`. Leaves out what the caller may not read.
    static func status(of resource: Resource, _ modules: Modules, for caller: Caller) async throws -> [ResourceStatus]
    /// What a deletion would meet besides the declaration.
    static func holdings(of resource: Resource, in workspace: WorkspaceID, _ modules: Modules) async throws -> ResourceHoldings
    /// In words, what stays when a resource is deleted; nil when nothing does.
    /// - Parameter removesData: whether its data are removed with it.
    static func remains(removingData removesData: Bool) -> String?
    /// Whether resources of this kind have data of their own, which `delete --data` removes.
    static var hasData: Bool { get }
    /// Whether data of this name are there, also when no such resource is declared any more.
    static func holdsData(of name: String, in workspace: WorkspaceID, _ modules: Modules) async throws -> Bool
    /// Removes the data of a resource in the grant's workspace for good. Called after the deletion was committed and before the resource is out of force.
    static func removeData(of name: String, _ modules: Modules, by grant: Grant) async throws
}

extension ResourceKind {
    package var references: [ResourceReference.Target] { [] }
    package func permissions(replacing current: Resource?, _ modules: Modules) -> [Action] { [] }
    package static var actsForItsAuthor: Bool { false }
    package static func mistakes(_ scrutiny: Scrutiny) -> [KeelError] { [] }
    package func given(among declared: Declarations) -> Set<Action> { [] }
    package static func effects(of resource: Resource, in declared: Declarations, _ modules: Modules) async throws -> [String] { [] }
    package static func warnings(of resource: Resource, in declared: Declarations, _ modules: Modules) async throws -> [String] { [] }
    package static func prepare(_ preparation: inout Preparation) async throws {}
    package static func status(of resource: Resource, _ modules: Modules, for caller: Caller) async throws -> [ResourceStatus] { [] }
    package static func holdings(of resource: Resource, in workspace: WorkspaceID, _ modules: Modules) async throws -> ResourceHoldings {
        ResourceHoldings()
    }
    package static func remains(removingData removesData: Bool) -> String? { nil }
    package static var hasData: Bool { false }
    package static func holdsData(of name: String, in workspace: WorkspaceID, _ modules: Modules) async throws -> Bool { false }
    package static func removeData(of name: String, _ modules: Modules, by grant: Grant) async throws {}
}

/// One thing that is known of a resource besides its declaration, for people: `last run`, and what it was.
public struct ResourceStatus: Sendable, Hashable {
    public let name: String
    public let value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// What a deletion would meet besides the declaration.
package struct ResourceHoldings: Sendable, Hashable {
    /// What is there, in words: `3 snapshots`.
    package var holds: [String]
    /// Why it does not go by itself, in words: `it serves release 3`.
    package var inUse: String?

    package init(_ holds: [String] = [], inUse: String? = nil) {
        self.holds = holds
        self.inUse = inUse
    }
}

/// A complete set of declarations that is checked, and how strictly.
package struct Scrutiny: Sendable {
    package let declared: Declarations
    package let modules: Modules
    /// The ids of the resources that are new or change. What only says that a later run would fail is asked of them alone, so that a resource which is
    /// stored does not stand in the way of others. Nil when what is stored is read back at the start.
    package let given: Set<String>?
    /// Names of what is there without being declared, by its kind.
    package let names: [String: [String]]
}
