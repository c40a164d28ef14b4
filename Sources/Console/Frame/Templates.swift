import Contracts
import Foundation
import Mustache

/// What a template shows, by the names that it uses. A name that is missing is looked for in what is around it: what may be absent is `false`.
public typealias View = [String: Any]

/// The pages' templates, compiled into the binary and parsed once.
///
/// Every name in double braces is escaped; no template uses triple braces, which `ConsoleTests` checks.
package struct Templates: Sendable {
    private let library: MustacheLibrary

    /// Of each file in `Templates/` its name and text.
    package static let sources: [(name: String, bytes: [UInt8])] = [
        ("frame", PackageResources.frame_mustache),
        ("table", PackageResources.table_mustache),
        ("sign-in", PackageResources.sign_in_mustache),
        ("error", PackageResources.error_mustache),
        ("root", PackageResources.root_mustache),
        ("home", PackageResources.home_mustache),
        ("search", PackageResources.search_mustache),
        ("workspaces", PackageResources.workspaces_mustache),
        ("endpoints", PackageResources.endpoints_mustache),
        ("endpoint", PackageResources.endpoint_mustache),
        ("release", PackageResources.release_mustache),
        ("evidence", PackageResources.evidence_mustache),
        ("try", PackageResources.try_mustache),
        ("predictions", PackageResources.predictions_mustache),
        ("prediction", PackageResources.prediction_mustache),
        ("models", PackageResources.models_mustache),
        ("model", PackageResources.model_mustache),
        ("version", PackageResources.version_mustache),
        ("ledger", PackageResources.ledger_mustache),
        ("event", PackageResources.event_mustache),
        ("chain", PackageResources.chain_mustache),
        ("live-at", PackageResources.live_at_mustache),
    ]

    /// - Throws: `internal` for a template that cannot be parsed.
    package init() throws(KeelError) {
        var parsed: [String: MustacheTemplate] = [:]
        for (name, bytes) in Templates.sources + Templates.ofData {
            do { parsed[name] = try MustacheTemplate(string: String(decoding: bytes, as: UTF8.self)) } catch {
                throw KeelError(.internal, "the template '\(name)' of the console cannot be read: \(error)")
            }
        }
        library = MustacheLibrary(templates: parsed)
    }

    /// - Throws: `internal` for a template that there is not.
    package func render(_ view: View, with template: String) throws(KeelError) -> String {
        guard let text = library.render(view, withTemplate: template) else {
            throw KeelError(.internal, "the console has no template '\(template)'")
        }
        return text
    }
}
