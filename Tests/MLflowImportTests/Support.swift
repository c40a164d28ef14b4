import Contracts
import Foundation
import Hummingbird
import HummingbirdTesting
import KeelAPI
import KeelClient
import MLflowImport
import Registry
import Storage
import Synchronization
import Testing
import Tracking
import WebAPI

/// A file as an MLflow server leaves it: two experiments, three runs with their history, and a registered model.
enum MLflowFile {
    private static let tables = """
        CREATE TABLE alembic_version (version_num TEXT);
        CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT, artifact_location TEXT, lifecycle_stage TEXT,
            creation_time BIGINT, last_update_time BIGINT);
        CREATE TABLE experiment_tags (key TEXT, value TEXT, experiment_id INTEGER);
        CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, name TEXT, experiment_id INTEGER, user_id TEXT, status TEXT, start_time BIGINT,
            end_time BIGINT, artifact_uri TEXT, lifecycle_stage TEXT);
        CREATE TABLE metrics (run_uuid TEXT, key TEXT, value DOUBLE, timestamp BIGINT, step BIGINT, is_nan BOOLEAN);
        CREATE TABLE latest_metrics (run_uuid TEXT, key TEXT, value DOUBLE, timestamp BIGINT, step BIGINT, is_nan BOOLEAN);
        CREATE TABLE params (run_uuid TEXT, key TEXT, value TEXT);
        CREATE TABLE tags (run_uuid TEXT, key TEXT, value TEXT);
        CREATE TABLE registered_models (name TEXT PRIMARY KEY, creation_time BIGINT, last_updated_time BIGINT, description TEXT);
        CREATE TABLE registered_model_tags (key TEXT, value TEXT, name TEXT);
        CREATE TABLE registered_model_aliases (alias TEXT, version INTEGER, name TEXT);
        CREATE TABLE model_versions (name TEXT, version INTEGER, creation_time BIGINT, last_updated_time BIGINT, description TEXT,
            user_id TEXT, current_stage TEXT, source TEXT, run_id TEXT, run_link TEXT, storage_location TEXT);
        CREATE TABLE model_version_tags (key TEXT, value TEXT, name TEXT, version INTEGER);
        CREATE TABLE webhooks (id TEXT)
        """
    private static let rows = """
        INSERT INTO alembic_version VALUES ('0123456789ab');
        INSERT INTO experiments VALUES (0, 'Default', 'mlflow-artifacts:/0', 'active', 1000, 1000);
        INSERT INTO experiments VALUES (7, 'delays', 's3://elsewhere/7', 'active', 2000, 3000);
        INSERT INTO experiment_tags VALUES ('team', 'ops', 7);
        INSERT INTO runs VALUES ('aaa', 'first', 7, 'ada', 'FINISHED', 5000, 6000, 'mlflow-artifacts:/7/aaa/artifacts', 'active');
        INSERT INTO runs VALUES ('bbb', 'second', 7, 'ada', 'FAILED', 5500, NULL, 'mlflow-artifacts:/7/bbb/artifacts', 'deleted');
        INSERT INTO runs VALUES ('ccc', NULL, 0, 'bob', 'RUNNING', 5600, NULL, 'mlflow-artifacts:/0/ccc/artifacts', 'active');
        INSERT INTO params VALUES ('aaa', 'trees', '150');
        INSERT INTO tags VALUES ('aaa', 'keel.bundle', 'forged');
        INSERT INTO tags VALUES ('ccc', 'mlflow.runName', 'named by a tag');
        WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 299)
            INSERT INTO metrics SELECT 'aaa', 'loss', 1.0 / (i + 1), 5000 + i, i, 0 FROM n;
        INSERT INTO metrics VALUES ('aaa', 'auc', 0, 5001, 0, 1);
        INSERT INTO latest_metrics VALUES ('aaa', 'loss', 0.00333333333333333, 5299, 299, 0);
        INSERT INTO latest_metrics VALUES ('aaa', 'auc', 0, 5001, 0, 1);
        INSERT INTO registered_models VALUES ('delay', 7000, 8000, 'who is late');
        INSERT INTO registered_model_aliases VALUES ('champion', 3, 'delay');
        INSERT INTO model_versions VALUES ('delay', 1, 7000, 7000, '', 'ada', 'Deleted_Internal', '', NULL, NULL, NULL);
        INSERT INTO model_versions VALUES ('delay', 3, 7500, 7600, 'good', 'ada', 'Production', 'mlflow-artifacts:/7/aaa/artifacts/model',
            'aaa', NULL, NULL);
        INSERT INTO webhooks VALUES ('w')
        """

    /// - Returns: the path of the file.
    static func make(in folder: String) async throws -> String {
        let path = folder + "/mlflow.db"
        let database = try Storage.Database(path: path)
        try await database.write { tx in
            for statement in (tables + ";" + rows).split(separator: ";") { try tx.execute(String(statement)) }
        }
        return path
    }
}

/// Makes every request the owner's.
private struct Owner: MiddlewareProtocol {
    func handle(_ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response) async throws -> Response {
        var context = context
        context.access = RequestAccess(caller: Caller(name: "ada", persona: .owner)) { _, _, _ in }
        return try await next(request, context)
    }
}

/// A store of MLflow's and a server of Keel's for it.
struct ImportHome {
    let file: String
    let tracking: TrackingService
    let registry: RegistryService
    let database: Storage.Database

    init() async throws {
        let folder = NSTemporaryDirectory() + "keel-import-" + Identifier.hex32()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        file = try await MLflowFile.make(in: folder)
        database = try Storage.Database(path: folder + "/keel.sqlite")
        try await database.migrate(
            Ledger.migrations + TrackingTables.migrations + TrackingTables.importMigrations + RegistryTables.migrations
                + RegistryTables.importMigrations, backupFolder: folder + "/backups")
        tracking = TrackingService(database: database, objects: try FolderObjectStore(root: folder + "/objects"))
        registry = RegistryService(database: database)
    }

    func may(_ action: Action) throws -> Grant { try Grant.check(Caller(name: "ada", persona: .owner), may: action) }

    /// Imports the file over HTTP.
    func imported(isRehearsal: Bool = false) async throws -> ImportReport {
        let router = Router(context: KeelContext.self)
        router.add(middleware: ErrorMiddleware())
        router.add(middleware: Owner())
        let routes = APIRoutes(router).group("/api/v1")
        addTrackingImportRoutes(routes, tracking)
        addRegistryImportRoutes(routes, registry)
        return try await Application(router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0))).test(.live) { server in
            let client = try KeelClient(url: "http://127.0.0.1:\(try #require(server.port))")
            let importer = try Importer(
                source: try await MLflowSource.open(url: "sqlite:///" + file), artifacts: nil, client: client, report: { _ in })
            let report = try await importer.run(isRehearsal: isRehearsal)
            await client.close()
            return report
        }
    }
}
