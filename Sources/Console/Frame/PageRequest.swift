import Contracts
import Hummingbird
import Platform
import WebAPI

/// A request for a page, and that its caller may see it.
public struct PageRequest: Sendable {
    public let request: Request
    public let context: KeelContext
    public let grant: Grant
    public let console: Console
    public let query: PageQuery

    public var platform: Platform { console.platform }
    public var now: Timestamp { console.platform.database.clock.now() }

    init(_ request: Request, _ context: KeelContext, _ grant: Grant, _ console: Console) {
        self.request = request
        self.context = context
        self.grant = grant
        self.console = console
        query = PageQuery(path: request.uri.path, query: request.uri.query ?? "")
    }

    /// The grant for something else that the page shows; nil when the caller may not see it, which is no denial: the page leaves it out.
    public func grant(_ action: Action, on subject: String = "*") -> Grant? { try? Grant.check(grant.caller, may: action, on: subject) }

    /// A parameter of the path without its escapes.
    public func name(_ parameter: String = "name") throws -> String {
        let text = try context.parameters.require(parameter)
        return percentDecoded(text)
    }
}

/// The address of a page: its filters, order and place, which links carry on.
public struct PageQuery: Sendable {
    public let path: String
    public let items: [(name: String, value: String)]

    public init(path: String, query: String) {
        self.path = path
        items = query.split(separator: "&").map { part in
            let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (percentDecoded(sides[0], plusIsSpace: true), sides.count == 2 ? percentDecoded(sides[1], plusIsSpace: true) : "")
        }
    }

    /// The value of a parameter; nil when it is not there or empty, as forms send fields that are not filled in.
    public subscript(_ name: String) -> String? { items.first { $0.name == name && !$0.value.isEmpty }?.value }

    public func all(_ name: String) -> [String] { items.filter { $0.name == name && !$0.value.isEmpty }.map(\.value) }

    /// The same address with other values for some parameters; nil takes one away.
    public func with(_ changes: KeyValuePairs<String, String?>) -> String {
        let changed = Set(changes.map(\.key))
        let kept = items.filter { !changed.contains($0.name) && !$0.value.isEmpty && $0.name != "workspace" }
        let all = kept + changes.compactMap { change in change.value.map { (name: change.key, value: $0) } }
        guard !all.isEmpty else { return path }
        return path + "?" + all.map { "\(percentEncoded($0.name))=\(percentEncoded($0.value))" }.joined(separator: "&")
    }

    /// How many rows a page has: `limit`, at most 200.
    public func limit(standard: Int = 50) throws(KeelError) -> Int {
        guard let text = self["limit"] else { return standard }
        guard let limit = Int(text), (1...200).contains(limit) else { throw .invalid("must be 1 to 200", path: "limit") }
        return limit
    }

    public func instant(_ name: String) throws(KeelError) -> Timestamp? {
        guard let text = self[name] else { return nil }
        // `datetime-local` of a form has neither seconds nor a zone; the console's times are UTC.
        let whole = text.utf8.count == 16 && text.contains("T") ? text + ":00Z" : text
        guard let time = Timestamp(whole) else {
            throw .invalid("'\(text.prefix(60))' is not an instant", hint: "2024-04-01 or 2024-04-01T10:00:00Z, in UTC", path: name)
        }
        return time
    }
}

/// What a form posted.
public struct Form: Sendable {
    static let bytesMax = 1 << 20
    public let query: PageQuery

    init(_ body: String) { query = PageQuery(path: "", query: body) }

    /// A field's value; nil when it is not there or empty.
    public subscript(_ name: String) -> String? { query[name] }

    /// - Throws: `invalidArgument` when the field is empty.
    public func required(_ name: String) throws(KeelError) -> String {
        guard let value = self[name] else { throw .invalid("must be filled in", path: name) }
        return value
    }

    /// - Throws: `invalidArgument` for what is not a whole number.
    public func number(_ name: String) throws(KeelError) -> Int? {
        guard let text = self[name] else { return nil }
        guard let number = Int(text) else { throw .invalid("'\(text.prefix(40))' is not a whole number", path: name) }
        return number
    }
}
