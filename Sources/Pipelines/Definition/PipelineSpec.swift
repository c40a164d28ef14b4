import Contracts

/// A DAG of steps with parameters, as declared.
///
/// `with` of a step references parameters (`$trees`), the run's now (`$now`) and outputs of other steps (`$train`, `$train.model`); dependencies
/// follow from the references and from `needs`.
public struct PipelineSpec: Sendable, Hashable {
    public struct Parameter: Sendable, Hashable {
        public let name: String
        /// Null when a value must be given at the start.
        public let standard: JSON
    }

    public struct Step: Sendable, Hashable {
        public let name: String
        public let uses: String
        public let with: JSON
        /// Further attempts after a failure.
        public let retries: Int
        /// Of one attempt.
        public let timeout: TimeSpan?
        /// Nil: as the kind of step says.
        public let cache: Bool?
        public let needs: [String]
        /// The names of the steps it comes after, from references and `needs`, each once.
        public internal(set) var dependencies: [String]
    }

    public static let stepsMax = 10_000
    /// The parameter word for the run's event time.
    public static let now = "now"

    public let name: String
    public let parameters: [Parameter]
    public let steps: [Step]
    /// The spec as written; a run keeps it, so that it goes on with what it began with.
    public let json: JSON

    /// Decodes strictly; `validate` then checks references and kinds.
    public init(resource: Resource) throws(KeelError) {
        name = resource.name
        json = resource.spec
        let reader = try FieldReader(resource.spec, path: "spec")
        var parameters: [Parameter] = []
        if let object = try reader.optionalObject("parameters") {
            for key in object.keys {
                try PipelineSpec.check(name: key, path: "spec.parameters.\(key)")
                guard key != PipelineSpec.now else {
                    throw .invalid(
                        "'now' is always known and cannot be declared", hint: "leave it out: $now is the run's event time",
                        path: "spec.parameters.now")
                }
                guard !parameters.contains(where: { $0.name == key }) else {
                    throw .invalid("parameter '\(key)' is there twice", path: "spec.parameters.\(key)")
                }
                parameters.append(Parameter(name: key, standard: object.optional(key) ?? .null))
            }
        }
        self.parameters = parameters
        let steps = try reader.objects("steps").mapAll { item throws(KeelError) in try PipelineSpec.step(item) }
        guard !steps.isEmpty else { throw .invalid("a pipeline needs at least one step", path: "spec.steps") }
        guard steps.count <= PipelineSpec.stepsMax else {
            throw .invalid("\(steps.count) steps are more than \(PipelineSpec.stepsMax)", path: "spec.steps")
        }
        try reader.finish()
        self.steps = steps
    }

    private static func step(_ reader: FieldReader) throws(KeelError) -> Step {
        let name = try reader.string("name")
        try check(name: name, path: "\(reader.path).name")
        let retries = try reader.optionalInt("retries") ?? 0
        guard (0...10).contains(retries) else { throw reader.failure("retries", "must be between 0 and 10, not \(retries)") }
        let with = reader.optional("with") ?? .object([])
        guard case .object = with else { throw reader.failure("with", "must be an object, not \(with.kind)") }
        let step = Step(
            name: name, uses: try reader.string("uses"), with: with, retries: retries, timeout: try reader.optionalSpan("timeout"),
            cache: try reader.optionalBool("cache"), needs: try reader.strings("needs") ?? [], dependencies: [])
        try reader.finish()
        return step
    }

    /// Names of steps and parameters are written behind `$`, so they take no dots and begin with a letter.
    private static func check(name: String, path: String) throws(KeelError) {
        guard Reference.pieces("$" + name) == [.reference(Reference(root: name, fields: []))], name.utf8.count <= 128 else {
            throw .invalid(
                "'\(name.prefix(140))' is not a valid name here", hint: "use letters, digits, '_' and '-', beginning with a letter",
                path: path)
        }
    }

    /// The same pipeline with dependencies worked out, after checking every name in it.
    /// - Throws: `invalidArgument` for duplicate names, references to nothing, cycles, unknown kinds of step, and what a kind says of its `with`.
    public func validated(kinds: [String: any StepKind]) throws(KeelError) -> ValidPipeline {
        var positions: [String: Int] = [:]
        for (i, step) in steps.enumerated() {
            if let first = positions.updateValue(i, forKey: step.name) {
                throw .invalid("two steps are named '\(step.name)'", hint: "the first is steps[\(first)]", path: "spec.steps[\(i)].name")
            }
            if parameters.contains(where: { $0.name == step.name }) || step.name == PipelineSpec.now {
                throw .invalid(
                    "'\(step.name)' is a parameter too", hint: "give the step another name: $\(step.name) must mean one thing",
                    path: "spec.steps[\(i)].name")
            }
        }
        let known = Set(parameters.map(\.name)).union([PipelineSpec.now])
        let linked = try steps.enumerated().mapAll { (i, step) throws(KeelError) in
            try link(step, at: "spec.steps[\(i)]", kinds: kinds, parameters: known, positions: positions)
        }
        try PipelineSpec.refuseCycles(linked, positions)
        return ValidPipeline(spec: self, steps: linked)
    }

    private func link(
        _ step: Step, at path: String, kinds: [String: any StepKind], parameters: Set<String>, positions: [String: Int]
    ) throws(KeelError) -> Step {
        guard let kind = kinds[step.uses] else {
            throw .invalid(
                "'\(step.uses)' is not a kind of step",
                hint: nearest(step.uses, in: kinds.keys.sorted()).map { "did you mean '\($0)'?" }
                    ?? "known: \(kinds.keys.sorted().joined(separator: ", "))",
                path: path + ".uses")
        }
        var step = step
        for (i, need) in step.needs.enumerated() {
            guard positions[need] != nil else {
                throw .invalid(
                    "there is no step '\(need)'", hint: nearest(need, in: positions.keys.sorted()).map { "did you mean '\($0)'?" },
                    path: "\(path).needs[\(i)]")
            }
            if !step.dependencies.contains(need) { step.dependencies.append(need) }
        }
        var found = step.dependencies
        try Reference.visit(step.with, at: path + ".with", skipping: kind.literalFields) { reference, place throws(KeelError) in
            if parameters.contains(reference.root) { return }
            guard positions[reference.root] != nil else {
                throw .invalid(
                    "\(reference) names no step and no parameter",
                    hint: nearest(reference.root, in: (parameters.union(positions.keys)).sorted()).map { "did you mean '$\($0)'?" }
                        ?? "write $$ for a plain $",
                    path: place)
            }
            if !found.contains(reference.root) { found.append(reference.root) }
        }
        step.dependencies = found
        try refuseLostReferences(step, kind, at: path, isName: { parameters.contains($0) || positions[$0] != nil })
        do throws(KeelError) { try kind.validate(step.with) } catch {
            // Some kinds say "with" themselves, as they do when they run.
            let place = error.path ?? ""
            throw error.at(place == "with" || place.hasPrefix("with.") || place.hasPrefix("with[") ? path : path + ".with")
        }
        return step
    }

    /// References to outputs that steps of their kind never have: what `Reference.pick` would say when a run gets there.
    ///
    /// Call it for a pipeline that `validated` accepts.
    func unknownOutputs(kinds: [String: any StepKind]) -> [KeelError] {
        var known: [String: [String]] = [:]
        for step in steps { known[step.name] = kinds[step.uses]?.outputNames(of: step.with) }
        var errors: [KeelError] = []
        for (i, step) in steps.enumerated() {
            // The closure throws nothing, and so does the visit.
            try? Reference.visit(step.with, at: "spec.steps[\(i)].with", skipping: kinds[step.uses]?.literalFields ?? []) {
                (reference, place) throws(KeelError) in
                guard let field = reference.fields.first, let names = known[reference.root], !names.contains(field) else { return }
                errors.append(Reference.unknown(field, of: "$" + reference.root, known: names).at(place))
            }
        }
        return errors
    }

    /// In program text `$trees` is the program's own variable; where nothing sets it, the writer meant a reference.
    private func refuseLostReferences(_ step: Step, _ kind: any StepKind, at path: String, isName: (String) -> Bool) throws(KeelError) {
        let set = Set(step.with["env"]?.members?.map(\.key) ?? [])
        for field in kind.literalFields.sorted() {
            for case .reference(let reference) in Reference.pieces(step.with[field]?.string ?? "")
            where isName(reference.root) && !set.contains(reference.root) {
                throw .invalid(
                    "$\(reference.root) is not replaced in program text", hint: "add  env: { \(reference.root): \(reference) }",
                    path: "\(path).with.\(field)")
            }
        }
    }

    private static func refuseCycles(_ steps: [Step], _ positions: [String: Int]) throws(KeelError) {
        // Depth first with a stack of its own: a chain of 10,000 steps must not exhaust the thread's.
        var done = [Bool](repeating: false, count: steps.count)
        for start in steps.indices where !done[start] {
            var (path, next) = ([start], [0])
            var onPath: Set<Int> = [start]
            while let at = path.last {
                if next[path.count - 1] == steps[at].dependencies.count {
                    done[at] = true
                    onPath.remove(at)
                    path.removeLast()
                    next.removeLast()
                    continue
                }
                let name = steps[at].dependencies[next[path.count - 1]]
                next[path.count - 1] += 1
                guard let child = positions[name], !done[child] else { continue }
                if onPath.contains(child) {
                    let cycle = path[(path.firstIndex(of: child) ?? 0)...].map { steps[$0].name } + [steps[child].name]
                    throw .invalid(
                        "the steps wait for each other: \(cycle.joined(separator: " → "))",
                        hint: "each step here needs the one after the arrow",
                        path: "spec.steps[\(at)]")
                }
                path.append(child)
                next.append(0)
                onPath.insert(child)
            }
        }
    }

    /// The parameters of one run: what is given over what is declared; the word `now` becomes the run's event time.
    ///
    /// A text given for a parameter whose default is a number or a boolean is read as one, as terminals give only texts.
    func bind(_ given: JSON, now: Timestamp) throws(KeelError) -> JSON {
        let given = given.isNull ? .object([]) : given
        guard let members = given.members else { throw .invalid("must be an object, not \(given.kind)", path: "parameters") }
        for member in members where !parameters.contains(where: { $0.name == member.key }) {
            throw .invalid(
                "pipeline '\(name)' has no parameter '\(member.key)'",
                hint: nearest(member.key, in: parameters.map(\.name)).map { "did you mean '\($0)'?" }
                    ?? (parameters.isEmpty ? "it takes none" : "its parameters: \(parameters.map(\.name).joined(separator: ", "))"),
                path: "parameters.\(member.key)")
        }
        var out: [JSON.Member] = []
        for parameter in parameters {
            var value = given[parameter.name] ?? parameter.standard
            guard !value.isNull else {
                throw .invalid("parameter '\(parameter.name)' has no default and must be given", path: "parameters.\(parameter.name)")
            }
            if value == .string(PipelineSpec.now) { value = .string(now.description) }
            out.append(JSON.Member(parameter.name, try PipelineSpec.coerce(value, like: parameter)))
        }
        return .object(out)
    }

    private static func coerce(_ value: JSON, like parameter: Parameter) throws(KeelError) -> JSON {
        guard let text = value.string else { return value }
        let read: JSON? =
            switch parameter.standard {
            case .int: Int64(text).map(JSON.int) ?? Double(text).map(JSON.double)
            case .double: Double(text).map(JSON.double)
            case .bool: text == "true" ? true : text == "false" ? false : nil
            default: value
            }
        guard let read else {
            throw .invalid(
                "parameter '\(parameter.name)' must be \(parameter.standard.kind), not '\(text.prefix(60))'",
                path: "parameters.\(parameter.name)")
        }
        return read
    }
}

/// A pipeline whose names, references and kinds are known to be right.
public struct ValidPipeline: Sendable {
    public let spec: PipelineSpec
    /// With their dependencies.
    public let steps: [PipelineSpec.Step]
}
