import Contracts
import Foundation
import Hummingbird
import Serving
import WebAPI

/// The endpoint that a path names.
struct NamedEndpoint {
    let ref: ResourceRef
    /// The columns that it takes.
    let fields: [Field]
    /// Those of them that a row may leave out.
    let optional: [String]

    /// - Throws: why the endpoint does not serve; `notFound` for a version of it that does not.
    init(_ context: KeelContext, _ runtime: ServingRuntime) throws {
        ref = try NamedEndpoint.asked(context)
        guard let fields = runtime.requestFields(endpoint: ref) else { throw runtime.whyNotServing(ref) }
        self.fields = fields
        optional = runtime.optionalColumns(endpoint: ref)
        let versions = runtime.versions(endpoint: ref)
        if let version = context.parameters.get("version"), !versions.contains(version) {
            throw KeelError.notFound(
                "endpoint '\(ref.qualifiedName)' serves no version '\(version.prefix(60))'", hint: "it serves \(versions.joined(separator: " and "))")
        }
    }

    /// The name in the path, as `delay` or `delay@staging`, whether there is such an endpoint or not.
    static func asked(_ context: KeelContext) throws -> ResourceRef {
        guard let access = context.access else { throw KeelError(.unauthenticated, "this request has no caller") }
        let text = try context.parameters.require("name")
        return ResourceRef(EndpointSpec.kind, stored: String((text.removingPercentEncoding ?? text).prefix(200)), in: access.caller.workspace)
    }

    func description(_ runtime: ServingRuntime) -> ModelDescription {
        ModelDescription(
            endpoint: ref, versions: runtime.versions(endpoint: ref), inputs: fields, outputs: runtime.outputs(endpoint: ref),
            rowsMax: runtime.limits(endpoint: ref)?.rows ?? EndpointLimits().rows)
    }
}

extension APIRoutes.Subject {
    /// The endpoint that the path names.
    static let endpoint = APIRoutes.Subject { try NamedEndpoint.asked($0).subject }
}
