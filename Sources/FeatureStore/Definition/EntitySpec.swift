import Contracts

/// What features are about: the join key of feature views.
///
/// A key `origin` is the column `origin` of the request and, unless a view maps it (`keys: { origin: dest }`), of the view's dataset.
public struct EntitySpec: Sendable, Hashable {
    public static let kind = "Entity"

    public var name: String
    /// In the order declared. Types: string, int32, int64, bool, date, timestamp.
    public var keys: [Field]

    public init(name: String, keys: [Field]) { (self.name, self.keys) = (name, keys) }

    public init(resource: Resource) throws(KeelError) {
        name = resource.name
        keys = []
        let reader = try FieldReader(resource.spec, path: "spec")
        let columns = try reader.object("keys")
        for key in columns.keys {
            let type = try placed("spec.keys.\(key)") { () throws(KeelError) in try DataType(parsing: try columns.string(key)) }
            guard KeyEncoding.canHold(type) else {
                throw columns.failure(key, "a key cannot be of type \(type)", hint: "use string, int32, int64, bool, date or timestamp")
            }
            keys.append(Field(key, type))
        }
        guard !keys.isEmpty else {
            throw reader.failure("keys", "an entity needs at least one key", hint: "for example keys: { origin: string }")
        }
        try reader.finish()
    }
}

/// Runs `body`; an error that names no place gets `path`, so that each complaint says where in the resource it is.
func placed<T>(_ path: String, _ body: () throws(KeelError) -> T) throws(KeelError) -> T {
    do throws(KeelError) { return try body() } catch {
        if error.path == nil { throw error.at(path) }
        throw error
    }
}
