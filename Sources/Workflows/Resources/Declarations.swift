import Contracts

/// A set of resources, decoded: of each kind those that can be read.
package struct Declarations: Sendable {
    private struct Item: Sendable {
        let ref: ResourceRef
        let spec: any ResourceKind
    }

    private var items: [String: [Item]] = [:]
    /// The workspace that they are of.
    package let workspace: WorkspaceID
    /// The labels of each.
    package private(set) var labels: [ResourceRef: [String: String]] = [:]
    /// Every resource, also those that could not be read.
    private var refs: Set<ResourceRef> = []
    /// The kinds of which some resource could not be read.
    private var unreadKinds: Set<String> = []

    package init(in workspace: WorkspaceID = .default) { self.workspace = workspace }

    /// Decodes each resource by itself and leaves out those that cannot be read: for lists of what names what, which must not fail because of one.
    package init(readable resources: [Resource], in workspace: WorkspaceID = .default) {
        var errors: [KeelError] = []
        self.init(resources, in: workspace, &errors)
    }

    /// - Parameter errors: gets all that is wrong with each resource by itself; their paths begin with the resource.
    private init(_ resources: [Resource], in workspace: WorkspaceID, _ errors: inout [KeelError]) {
        self.workspace = workspace
        for resource in resources {
            let ref = resource.ref(in: workspace)
            refs.insert(ref)
            do throws(KeelError) { try add(resource, ref) } catch {
                let found = error.path?.hasPrefix(ref.subject) == true ? error : error.at(ref.subject)
                errors.append(found)
                errors += Declarations.mistakes(in: resource, ref, besides: found)
                unreadKinds.insert(resource.kind)
            }
        }
    }

    private mutating func add(_ resource: Resource, _ ref: ResourceRef) throws(KeelError) {
        if let meant = resource.workspace, meant != workspace {
            throw .invalid(
                "it is meant for the workspace '\(meant)', and this one is '\(workspace)'", hint: "apply it with --workspace \(meant)",
                path: "metadata.workspace")
        }
        var placed = resource
        placed.workspace = workspace
        let spec = try ResourceKinds.kind(resource.kind).init(resource: placed)
        if let environment = resource.environment { _ = try EnvironmentName(environment) }
        labels[ref] = resource.labels
        items[resource.kind, default: []].append(Item(ref: ref, spec: spec))
    }

    /// Decodes resources and checks them against each other.
    /// - Parameter given: see `Scrutiny.given`.
    /// - Throws: one error that holds all that were found; their paths begin with the resource.
    package static func check(
        _ resources: [Resource], in workspace: WorkspaceID = .default, given: Set<String>? = [], names: [String: [String]] = [:],
        _ modules: Modules
    ) throws(KeelError) -> Declarations {
        var errors: [KeelError] = []
        let declared = Declarations(resources, in: workspace, &errors)
        let scrutiny = Scrutiny(declared: declared, modules: modules, given: given, names: names)
        for kind in ResourceKinds.all { errors += kind.mistakes(scrutiny) }
        errors += declared.wrongReferences(given: given ?? [])
        // Of those that were stored when nobody asked this, the environment goes on meaning nothing.
        for resource in resources where resource.environment != nil && resource.ref(in: workspace).environment == nil {
            guard given?.contains(resource.ref(in: workspace).subject) == true, !errors.contains(where: { $0.path == "\(resource.id).metadata.environment" })
            else { continue }
            errors.append(
                .invalid("a \(resource.kind) is in no environment", hint: "leave it out", path: "\(resource.id).metadata.environment"))
        }
        if let error = KeelError.joined(errors) { throw error }
        return declared
    }

    /// What can be put in force of a set that is stored: all but those that are not valid (any more), which are added to `failures`; so are those
    /// that refer to them.
    static func valid(
        _ resources: [Resource], in workspace: WorkspaceID = .default, _ modules: Modules, _ failures: inout [(subject: String, error: KeelError)]
    ) -> Declarations {
        let order = Dictionary(uniqueKeysWithValues: ResourceKinds.names.enumerated().map { ($1, $0) })
        let last = order.count
        let sorted = resources.sorted { (order[$0.kind] ?? last, $0.name) < (order[$1.kind] ?? last, $1.name) }
        var kept: [Resource] = []
        var declared = Declarations(in: workspace)
        // Halves a part that is not valid until the resources at fault stand alone.
        func admit(_ part: ArraySlice<Resource>) {
            guard !part.isEmpty else { return }
            do throws(KeelError) {
                declared = try check(kept + part, in: workspace, given: nil, modules)
                kept += part
            } catch {
                guard part.count > 1 else { return failures.append((part[part.startIndex].ref(in: workspace).subject, error)) }
                let middle = part.startIndex + part.count / 2
                admit(part[..<middle])
                admit(part[middle...])
            }
        }
        admit(sorted[...])
        return declared
    }

    /// The resources of a kind that could be read, in the order in which they were given.
    package func all<Kind: ResourceKind>(_ kind: Kind.Type) -> [Kind] { (items[Kind.schema.name] ?? []).compactMap { $0.spec as? Kind } }

    /// Whether all resources of these kinds could be read. What would only follow from one that could not is not worth an error of its own.
    package func isWhole(_ kinds: [any ResourceKind.Type]) -> Bool { unreadKinds.isDisjoint(with: kinds.map { $0.schema.name }) }

    /// Every name of another resource in every resource: what must be there, and what would lose its meaning when it goes.
    package var references: [ResourceReference] {
        let all = items.values.joined().flatMap { item in
            item.spec.references.map { target in
                ResourceReference(from: item.ref, target: target, to: resolve(ResourceRef(target.kind, stored: target.name, in: workspace)))
            }
        }
        return all.sorted { ($0.from.subject, $0.target.field) < ($1.from.subject, $1.target.field) }
    }

    /// What a name means: what is declared under it, else the only one of the name that another environment has. Declarations that were stored before
    /// names had environments so mean what they meant; new ones name the environment.
    package func resolve(_ ref: ResourceRef) -> ResourceRef {
        guard ref.environment != nil, !refs.contains(ref) else { return ref }
        let others = refs.filter { $0.kind == ref.kind && $0.name == ref.name }
        return others.count == 1 ? others.first ?? ref : ref
    }

    /// - Parameter given: those that are new or change.
    private func wrongReferences(given: Set<String>) -> [KeelError] {
        references.filter(\.target.isRequired).compactMap { reference in
            let wanted = ResourceRef(reference.target.kind, stored: reference.target.name, in: workspace)
            guard !refs.contains(given.contains(reference.from.subject) ? wanted : reference.to) else { return nil }
            let known = refs.filter { $0.kind == wanted.kind }
            let elsewhere = known.first { $0.name == wanted.name }
            let near = nearest(wanted.name, in: known.filter { $0.environment == wanted.environment }.map(\.name).sorted())
            return .invalid(
                "there is no \(reference.word) '\(wanted.qualifiedName)'",
                hint: elsewhere.map { "there is \($0.subject), which is in another environment" } ?? near.map { "did you mean '\($0)'?" },
                path: "\(reference.from.subject).\(reference.target.field)")
        }
    }

    /// What the schema of a resource's kind finds wrong with it besides what its decoder found before it stopped.
    private static func mistakes(in resource: Resource, _ ref: ResourceRef, besides found: KeelError) -> [KeelError] {
        let schema = (try? ResourceKinds.kind(resource.kind))?.schema
        return (schema?.mistakes(in: resource.spec) ?? []).map { $0.at(ref.subject) }.filter { mistake in
            // A misspelt field may be named by the hint about the one that is missing.
            let field = mistake.path?.split(separator: ".").last.map(String.init) ?? ""
            return ([found] + found.also).allSatisfy { $0.path != mistake.path && $0.hint?.contains("'\(field)'") != true }
        }
    }
}
