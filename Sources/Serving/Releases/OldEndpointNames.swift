import Contracts
import Storage

/// Endpoints of homes from before endpoints had environments: their rows, records of the journal and events name them without one.
///
/// The migration lists them. The first start afterwards decides for each, once, in which environment it is; from then on its rows have its whole name.
/// Records of the journal and events keep the old one, and are read by this list.
extension DeploymentService {
    /// The old names, in the workspace `default`, about which nothing is decided yet.
    public static func undecidedNames(in db: some Querying) throws -> [String] {
        try db.rows("SELECT endpoint FROM old_endpoint_names WHERE environment IS NULL ORDER BY endpoint").map { $0.text("endpoint") }
    }

    /// Decides where the endpoint of an old name is, and gives its rows its name there.
    public static func decide(_ name: String, is environment: EnvironmentName, in tx: Transaction) throws {
        // Events from here on have the whole name.
        let seq = try tx.ledgerHead()
        let changed = try tx.execute(
            "UPDATE old_endpoint_names SET environment = ?, until_seq = ? WHERE endpoint = ? AND environment IS NULL",
            [.string(environment.rawValue), .int(seq), .string(name)])
        let new = ResourceRef(EndpointSpec.kind, name, environment: environment).qualifiedName
        guard changed > 0, new != name else { return }
        for table in ["releases", "endpoint_state", "predictions", "unexported_predictions"] {
            try tx.execute(
                "UPDATE \(table) SET endpoint = ? WHERE workspace = ? AND endpoint = ?",
                [.string(new), .string(WorkspaceID.default.name), .string(name)])
        }
    }

    /// The environments that were decided, by old name.
    static func oldNames(in db: some Querying) throws -> [String: EnvironmentName] {
        var out: [String: EnvironmentName] = [:]
        for row in try db.rows("SELECT endpoint, environment FROM old_endpoint_names WHERE environment IS NOT NULL") {
            out[row.text("endpoint")] = EnvironmentName(rawValue: row.text("environment"))
        }
        return out
    }

    /// The subject of an endpoint's events from before, and the last number that they may have; nil when it always had the one that it has.
    static func oldSubject(of endpoint: ResourceRef, in db: some Querying) throws -> (subject: String, until: Int64)? {
        guard endpoint.workspace == .default, let environment = endpoint.environment, environment != .production,
            let row = try db.row(
                "SELECT until_seq FROM old_endpoint_names WHERE endpoint = ? AND environment = ?",
                [.string(endpoint.name), .string(environment.rawValue)])
        else { return nil }
        return (ResourceRef(EndpointSpec.kind, endpoint.name).subject, row.int("until_seq"))
    }
}
