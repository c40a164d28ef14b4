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
        ("cell", PackageResources.cell_mustache),
        ("badge", PackageResources.badge_mustache),
        ("moment", PackageResources.moment_mustache),
        ("pager", PackageResources.pager_mustache),
        ("spans", PackageResources.spans_mustache),
        ("markdown", PackageResources.markdown_mustache),
        ("layouts", PackageResources.layouts_mustache),
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
        ("experiments", PackageResources.experiments_mustache),
        ("runs-table", PackageResources.runs_table_mustache),
        ("run", PackageResources.run_mustache),
        ("compare", PackageResources.compare_mustache),
        ("monitors", PackageResources.monitors_mustache),
        ("monitor", PackageResources.monitor_mustache),
        ("pipelines", PackageResources.pipelines_mustache),
        ("pipeline", PackageResources.pipeline_mustache),
        ("pipeline-rows", PackageResources.pipeline_rows_mustache),
        ("pipeline-run", PackageResources.pipeline_run_mustache),
        ("triggers", PackageResources.triggers_mustache),
        ("datasets", PackageResources.datasets_mustache),
        ("dataset", PackageResources.dataset_mustache),
        ("features", PackageResources.features_mustache),
        ("feature-view", PackageResources.feature_view_mustache),
        ("feature-service", PackageResources.feature_service_mustache),
        ("parity", PackageResources.parity_mustache),
        ("lineage", PackageResources.lineage_mustache),
        ("ledger", PackageResources.ledger_mustache),
        ("event", PackageResources.event_mustache),
        ("chain", PackageResources.chain_mustache),
        ("live-at", PackageResources.live_at_mustache),
    ]

    /// - Throws: `internal` for a template that cannot be parsed.
    package init() throws(KeelError) {
        var parsed: [String: MustacheTemplate] = [:]
        for (name, bytes) in Templates.sources {
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
