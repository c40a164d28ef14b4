// Experiments, monitors, pipelines, data, features and lineage: what the frame has to know of these pages.

extension ConsoleSection {
    static let ofData: [ConsoleSection] = [experiments, pipelines, datasets, monitors, lineage]
}

/// Adds the pages of experiments, monitors, pipelines, data, features and lineage.
func addDataPageFamilies(to pages: ConsoleRoutes) {
    addRunPages(to: pages)
    addMonitorPages(to: pages)
    addPipelinePages(to: pages)
    addDataPages(to: pages)
    addLineagePages(to: pages)
}

extension Templates {
    static let ofData: [(name: String, bytes: [UInt8])] = [
        ("cell", PackageResources.cell_mustache),
        ("badge", PackageResources.badge_mustache),
        ("moment", PackageResources.moment_mustache),
        ("pager", PackageResources.pager_mustache),
        ("spans", PackageResources.spans_mustache),
        ("markdown", PackageResources.markdown_mustache),
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
    ]
}

extension ConsoleAssets {
    static let ofPages: [(name: String, bytes: [UInt8])] = [
        ("console.css", PackageResources.console_css),
        ("icon.svg", PackageResources.icon_svg),
        ("theme.js", PackageResources.theme_js),
        ("live.js", PackageResources.live_js),
        ("search.js", PackageResources.search_js),
        ("table.js", PackageResources.table_js),
        ("charts.js", PackageResources.charts_js),
        ("drawings.js", PackageResources.drawings_js),
        ("address.js", PackageResources.address_js),
    ]
}
