import Contracts

/// What the documentation says of one route, besides what the route asks of its caller. An API lists those of its routes beside them.
public struct APIOperation: Sendable {
    /// A parameter of the query; those of the path are read from the path.
    public struct Parameter: Sendable {
        let name: String
        let shape: Shape
        let about: String

        public init(_ name: String, _ shape: Shape, _ about: String) { (self.name, self.shape, self.about) = (name, shape, about) }
        /// A text.
        public init(_ name: String, _ about: String) { self.init(name, .text, about) }

        public static func limit(_ standard: Int, most: Int = 1000) -> Parameter {
            Parameter("limit", .integer, "How many at most, 1 to \(most); \(standard) unless given")
        }
    }

    let method: String
    let path: String
    let family: String
    let summary: String
    let query: [Parameter]
    let body: Shape?
    let bodyType: String
    let status: Int
    let answer: Shape?
    let answerType: String
    let errors: [Int]

    /// - Parameter errors: statuses besides those that follow from the route: 400 with parameters, 401 and 403 with an action, 404 with a name in the path.
    public init(
        _ method: String, _ path: String, _ family: String, _ summary: String, query: [Parameter] = [],
        body: Shape? = nil, bodyType: String = "application/json", status: Int = 200, answer: Shape? = nil,
        answerType: String = "application/json", errors: [Int] = []
    ) {
        self.method = method
        self.path = path
        self.family = family
        self.summary = summary
        self.query = query
        self.body = body
        self.bodyType = bodyType
        self.status = status
        self.answer = answer
        self.answerType = answerType
        self.errors = errors
    }

    private var pathNames: [String] {
        // `{name}` and `{name}:verb`.
        path.split(separator: "/").filter { $0.hasPrefix("{") }.map { String($0.dropFirst().prefix { $0 != "}" }) }
    }

    /// `getDatasetsNameSnapshots` of `/api/v1/datasets/{name}/snapshots`
    private var id: String {
        let words = path.split { !$0.isLetter && !$0.isNumber && $0 != "_" }
        let own = words.starts(with: ["api", "v1"]) ? words.dropFirst(2) : words[...]
        return method.lowercased() + own.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    func json(_ demand: RouteDemand) -> JSON {
        var json: JSON = ["operationId": .string(id), "summary": .string(summary), "tags": [.string(family)]]
        let parameters =
            pathNames.map { name -> JSON in ["name": .string(name), "in": "path", "required": true, "schema": Shape.text.schema] }
            + query.map { ["name": .string($0.name), "in": "query", "description": .string($0.about), "schema": $0.shape.schema] }
        if !parameters.isEmpty { json["parameters"] = .array(parameters) }
        if let body { json["requestBody"] = ["required": true, "content": .object([JSON.Member(bodyType, ["schema": body.schema])])] }
        json["responses"] = responses(demand)
        switch demand {
        case .nothing: json["security"] = []
        case .token: break
        case .action(let action): json["x-keel-action"] = .string(action.rawValue)
        }
        return json
    }

    private func responses(_ demand: RouteDemand) -> JSON {
        var done: JSON = ["description": "Done"]
        if let answer { done["content"] = .object([JSON.Member(answerType, ["schema": answer.schema])]) }
        var statuses = Set(errors)
        if !query.isEmpty || body != nil { statuses.formUnion([400]) }
        if body != nil { statuses.formUnion([413]) }
        if !pathNames.isEmpty { statuses.formUnion([404]) }
        switch demand {
        case .nothing: break
        case .token: statuses.formUnion([401])
        case .action: statuses.formUnion([401, 403])
        }
        let failures = statuses.sorted().map {
            JSON.Member(String($0), ["$ref": .string("#/components/responses/\(OpenAPIDocument.errorName($0))")])
        }
        return .object([JSON.Member(String(status), done)] + failures)
    }
}
