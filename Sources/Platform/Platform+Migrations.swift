import Datasets
import Governance
import Monitoring
import Pipelines
import Registry
import Serving
import Storage
import Tracking

extension Platform {
    /// The tables of every module, in the order in which a new database gets them.
    package static let migrations: [Migration] =
        Ledger.migrations + GovernanceTables.migrations + DatasetTables.migrations + TrackingTables.migrations + RegistryTables.migrations
        + TrackingTables.importMigrations + RegistryTables.importMigrations + PipelineMigrations.all + ServingTables.migrations
        + MonitoringTables.migrations
}
