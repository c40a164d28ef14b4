import Contracts
import Foundation
import Serving

/// What the path of an inference request names.
struct InferenceTarget: Sendable, Hashable {
    let path: String
    /// The endpoint as it was asked for: `delay`, `delay@staging`.
    let name: String
    /// A model version; nil leaves it to the rollout.
    let version: String?

    /// Nil when the path is not `/v2/models/{endpoint}[/versions/{version}]/infer`.
    init?(path: String) {
        guard path.hasPrefix("/v2/models/"), path.hasSuffix("/infer") else { return nil }
        let parts = path.dropFirst(11).dropLast(6).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 1 || parts.count == 3 && parts[1] == "versions", parts.allSatisfy({ !$0.isEmpty }) else { return nil }
        self.path = path
        // `@` may come as it is and encoded.
        name = parts[0].utf8.contains(0x25) ? String(parts[0]).removingPercentEncoding ?? String(parts[0]) : String(parts[0])
        version = parts.count == 3 ? String(parts[2]) : nil
    }

    /// What is asked for, in the workspace of whoever asks.
    func endpoint(in workspace: WorkspaceID) -> ResourceRef { ResourceRef(EndpointSpec.kind, stored: name, in: workspace) }
}
