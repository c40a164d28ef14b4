import Contracts
import Synchronization

/// What a route asks of its caller.
public enum RouteDemand: Sendable, Equatable {
    /// Not even a token.
    case nothing
    /// A token, whoever's it is.
    case token
    /// That the caller may do this.
    case action(Action)
}

/// What each route asks of its caller and takes from its request. `APIRoutes` fills it while routes are registered, and `OpenAPIDocument` reads it.
public final class RouteDemands: Sendable {
    private let demands = Mutex<[String: RouteDemand]>([:])
    private let operations = Mutex<[String: APIOperation]>([:])

    func add(_ demand: RouteDemand, of method: String, _ path: String) { demands.withLock { $0["\(method) \(path)"] = demand } }

    /// Holds requests to what these operations say: a parameter or a body that the route would pass over is refused from now on.
    public func enforce(_ operations: [APIOperation]) {
        self.operations.withLock { known in
            for operation in operations { known["\(operation.method) \(operation.path)"] = operation }
        }
    }

    func enforced(_ method: String, _ path: String) -> APIOperation? { operations.withLock { $0["\(method) \(path)"] } }

    /// - Throws: `internal` when there is no such route.
    func demand(of method: String, _ path: String) throws(KeelError) -> RouteDemand {
        guard let demand = demands.withLock({ $0["\(method) \(path)"] }) else {
            throw KeelError(.internal, "the document describes \(method) \(path), which is no route of the API")
        }
        return demand
    }
}
