import Contracts

public struct ModelReference: Sendable, Hashable {
    public let json: JSON
    public init() { json = .object([]) }
    public init(json: JSON) throws(KeelError) { self.json = json }
}
