import Contracts
import Serving

/// *Try it*: a form made from what the endpoint takes, and its answer with the values that the model was given.
func addTryPages(to pages: ConsoleRoutes) {
    pages.page("/endpoints/:name/try", .predict, on: .placed(EndpointSpec.kind)) { asked in
        let ref = try asked.thing(EndpointSpec.kind)
        do throws(KeelError) { return tryPage(ref, try TryForm(ref, asked).view([:])) } catch {
            // A page all the same: what is missing comes with the first release.
            guard error.code == .failedPrecondition || error.code == .unavailable else { throw error }
            var view = TryForm(ref, [], optional: [], inputs: []).view([:])
            view["problem"] = error.message
            view["hint"] = error.hint ?? false
            return tryPage(ref, view)
        }
    }
    pages.formPage("/endpoints/:name/try", .predict, on: .placed(EndpointSpec.kind)) { asked, form in
        let ref = try asked.thing(EndpointSpec.kind)
        let trial = try TryForm(ref, asked)
        var view = trial.view(Dictionary(trial.fields.map { ($0.name, form[TryForm.field($0.name)] ?? "") }) { $1 })
        do throws(KeelError) {
            let table = try trial.table(form)
            view["answer"] = answer(try await predict(ref, table, asked), ref)
        } catch {
            view["problem"] = error.message
            view["hint"] = error.hint ?? false
            view["field"] = error.path ?? false
        }
        return tryPage(ref, view)
    }
}

private func tryPage(_ ref: ResourceRef, _ view: View) -> Page {
    Page(
        "Try \(ref.qualifiedName)", in: .endpoints,
        below: [.init("Endpoints", "/console/endpoints"), .init(ref.qualifiedName, ConsolePath.endpoint(ref))], template: "try", view)
}

private func predict(_ ref: ResourceRef, _ table: Table, _ asked: PageRequest) async throws(KeelError) -> InferenceResult {
    do { return try await asked.platform.runtime.infer(endpoint: ref, request: table) } catch { throw KeelError.shown(error) }
}

private func answer(_ result: InferenceResult, _ ref: ResourceRef) -> View {
    func values(_ table: Table) -> [View] {
        guard table.rowCount > 0 else { return [] }
        return zip(table.names, table.row(0)).map { name, value in
            ["name": name, "value": String(value.description.visible().prefix(1000)), "isMissing": value.isNull]
        }
    }
    let id = result.ids.first ?? ""
    return [
        "id": id, "path": ConsolePath.prediction(ref, id), "release": result.release,
        "releasePath": ConsolePath.release(ref, result.release),
        "model": "\(result.model)/\(result.modelVersion)", "outputs": values(result.outputs), "inputs": values(result.inputs),
        "score": result.scores?.first.map { Shown.number(Double($0)) } ?? false,
    ]
}

/// The fields that an endpoint's requests have, and a row made of what was filled in.
struct TryForm {
    let fields: [Field]
    private let ref: ResourceRef
    private let optional: Set<String>
    private let categories: [String: [String]]
    private let base: String

    init(_ ref: ResourceRef, _ asked: PageRequest) throws(KeelError) {
        let runtime = asked.platform.runtime
        guard let fields = runtime.requestFields(endpoint: ref) else { throw runtime.whyNotServing(ref) }
        let bundle = runtime.serving(ref).first?.bundle
        self.init(ref, fields, optional: runtime.optionalColumns(endpoint: ref), inputs: bundle?.signature.inputs ?? [])
    }

    init(_ ref: ResourceRef, _ fields: [Field], optional: [String], inputs: [Signature.Input]) {
        self.fields = fields
        self.ref = ref
        self.optional = Set(optional)
        categories = Dictionary(inputs.compactMap { input in input.categories.map { (input.name, $0) } }) { $1 }
        base = ConsolePath.endpoint(ref)
    }

    /// The name of a column's field: columns may have names that the form itself uses.
    static func field(_ column: String) -> String { "x." + column }

    private func isOptional(_ field: Field) -> Bool { field.nullable || optional.contains(field.name) }

    func view(_ filled: [String: String]) -> View {
        [
            "base": base, "name": ref.qualifiedName, "answer": false, "problem": false, "hint": false, "field": false,
            "hasFields": !fields.isEmpty,
            "fields": fields.map { field in
                let options = field.oneOf ?? categories[field.name] ?? (field.type == .bool ? ["true", "false"] : [])
                let value = filled[field.name] ?? ""
                return [
                    "id": TryForm.field(field.name), "label": field.name, "type": field.type.description, "unit": field.unit ?? false,
                    "value": value,
                    "isRequired": !isOptional(field), "input": TryForm.input(field.type),
                    "hasOptions": !options.isEmpty && options.count <= 200,
                    "options": options.prefix(200).map { ["text": $0, "isChosen": $0 == value] as View },
                ] as View
            },
        ]
    }

    private static func input(_ type: DataType) -> String {
        switch type {
        case .int32, .int64, .float32, .float64: "number"
        case .date: "date"
        default: "text"
        }
    }

    /// A table of one row.
    /// - Throws: `invalidArgument` with the column for a value that is not of its type, and for one that is missing.
    func table(_ form: Form) throws(KeelError) -> Table {
        var table = Table(emptyOf: fields)
        var row: [Value] = []
        for field in fields {
            guard let text = form[TryForm.field(field.name)] else {
                guard isOptional(field) else { throw .invalid("must be filled in", path: field.name) }
                row.append(.null)
                continue
            }
            row.append(try TryForm.value(text, field))
        }
        try table.append(row: row)
        return table
    }

    static func value(_ text: String, _ field: Field) throws(KeelError) -> Value {
        func refused(_ what: String) -> KeelError { .invalid("'\(text.prefix(60))' is not \(what)", path: field.name) }
        let trimmed = text.filter { !$0.isWhitespace }
        switch field.type {
        case .bool:
            guard ["true", "false"].contains(trimmed.lowercased()) else { throw refused("true or false") }
            return .bool(trimmed.lowercased() == "true")
        case .int32, .int64:
            guard let number = Int64(trimmed) else { throw refused("a whole number") }
            return .int(number)
        case .float32, .float64:
            guard let number = Double(trimmed) else { throw refused("a number") }
            return .double(number)
        case .string: return .string(text)
        case .bytes:
            guard let bytes = Base64.decode(trimmed) else { throw refused("base64") }
            return .bytes(bytes)
        case .date:
            guard let time = Timestamp(trimmed), trimmed.utf8.count == 10 else { throw refused("a day, as in 2024-05-01") }
            return .date(Int32(clamping: floorDivide(time.microseconds, CivilDate.microseconds)))
        case .timestamp:
            guard let time = Timestamp(trimmed) else { throw refused("an instant, as in 2024-05-01T10:00:00Z") }
            return .timestamp(time)
        case .list, .tensor:
            do throws(KeelError) { return try JSON.parse(text).value } catch { throw refused("a list in JSON, as in [1, 2, 3]") }
        }
    }
}
