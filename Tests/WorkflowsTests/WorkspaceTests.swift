import Contracts
import Datasets
import Foundation
import Pipelines
import Storage
import Testing
import Tracking
import Workflows

@Suite("Datasets, features and pipelines of several workspaces")
struct WorkspaceTests {
    private static let fraud = WorkspaceID(stored: "fraud")
    private static let bob = Caller(name: "bob", persona: .owner, workspace: fraud)
    private static let trigger = Resource(kind: "Trigger", name: "retrain", spec: ["when": ["dataset/clicks snapshot"], "run": "train"])
    private static let declared = [Shop.dataset, Shop.entity, Shop.spent, Shop.service, Shop.pipeline(), trigger]

    /// The same declarations in `default` and in `fraud`, with other rows.
    private func shop() async throws -> Workshop {
        let shop = try await Workshop()
        try await shop.apply(WorkspaceTests.declared)
        try await shop.apply(WorkspaceTests.declared, by: WorkspaceTests.bob)
        try await push(shop, "1", 10, Workshop.ann)
        try await push(shop, "1", 500, WorkspaceTests.bob)
        return shop
    }

    private func restart(_ shop: Workshop) async throws -> Workshop {
        let again = try await Workshop(at: shop.folder)
        try await again.applying.configure(WorkspaceTests.fraud, isStart: true)
        return again
    }

    private func push(_ shop: Workshop, _ id: String, _ price: Int64, _ caller: Caller) async throws {
        let rows: JSON = [["id": .string(id), "at": "2024-01-01T00:00:00Z", "user": "ann", "price": .int(price)]]
        _ = try await shop.ingesting.push("clicks", Array((["rows": rows] as JSON).text.utf8), Workshop.may(.eventsPush, caller))
    }

    /// What ann spent, as online features of a workspace have it.
    private func spent(_ shop: Workshop, _ workspace: WorkspaceID) throws -> Value? {
        let request = try Table([(name: "user", column: try Column(.string, values: ["ann"]))])
        return try shop.modules.features[workspace].read(service: "buying", request: request)["spent"]?[0]
    }

    @Test("the same names in two workspaces never touch, and are back after a restart")
    func sideBySide() async throws {
        let shop = try await shop()
        #expect(try spent(shop, .default) == .double(10))
        #expect(try spent(shop, WorkspaceTests.fraud) == .double(500))
        _ = try await shop.modules.data.seal(dataset: "clicks", grant: Workshop.may(.datasetsIngest, WorkspaceTests.bob))
        try await push(shop, "2", 7, WorkspaceTests.bob)
        let again = try await restart(shop)
        #expect(try spent(again, .default) == .double(10))
        #expect(try spent(again, WorkspaceTests.fraud) == .double(507))
        #expect(again.damage.all.isEmpty)

        // Another definition in one: the other goes on with its own.
        try await again.apply([Shop.view([["name": "spent", "aggregate": "count", "window": "3650d"]])], by: WorkspaceTests.bob)
        #expect(try spent(again, .default) == .double(10))
        #expect(try spent(again, WorkspaceTests.fraud) == .int(2))
        let triggers = try await again.modules.triggers.list(grant: Workshop.may(.pipelinesRead, WorkspaceTests.bob))
        #expect(triggers.map(\.author) == ["bob"])
        // A declaration that refers to what only another workspace has is refused.
        let lone = Caller(name: "eve", persona: .owner, workspace: WorkspaceID(stored: "other"))
        let error = await #expect(throws: KeelError.self) { try await again.apply([WorkspaceTests.trigger], by: lone) }
        #expect(error?.message.contains("'train'") == true && error?.hint == nil, "nothing near is named: it is not this workspace's")
        let view = await #expect(throws: KeelError.self) { try await again.apply([Shop.spent], by: lone) }
        #expect(view?.hint == nil)
    }

    @Test("a file that is damaged disables its dataset in its workspace alone; rows in its place repair that one")
    func damage() async throws {
        let shop = try await shop()
        _ = try await shop.modules.data.seal(dataset: "clicks", grant: Workshop.may(.datasetsIngest, Workshop.ann))
        _ = try await shop.modules.data.seal(dataset: "clicks", grant: Workshop.may(.datasetsIngest, WorkspaceTests.bob))
        let folder = "\(shop.folder)/lake/datasets/@fraud/clicks"
        let file = try #require(try FileManager.default.contentsOfDirectory(atPath: folder).first)
        try FileManager.default.removeItem(atPath: "\(folder)/\(file)")
        let again = try await restart(shop)
        #expect(again.damage.all(in: .default).isEmpty)
        #expect(Set(again.damage.all(in: WorkspaceTests.fraud).map(\.subject)) == ["Dataset/clicks"])
        #expect(try spent(again, .default) == .double(10))
        let error = #expect(throws: KeelError.self) { try spent(again, WorkspaceTests.fraud) }
        #expect(error?.code == .unavailable)
        // Both can be changed.
        try await again.apply([Shop.pipeline("program")])
        try await again.apply([Shop.pipeline("program")], by: WorkspaceTests.bob)

        try Data("id,at,user,price\n9,2024-01-01T00:00:00Z,ann,9\n".utf8).write(to: URL(fileURLWithPath: "\(shop.folder)/new.csv"))
        let spooled = try await again.ingesting.spool(Parts(path: "\(shop.folder)/new.csv"), named: "new.csv", bytesMax: 1 << 20)
        _ = try await again.ingesting.ingest(
            "clicks", spooled: spooled, member: nil, from: nil, until: nil, overwrite: true,
            grant: Workshop.may(.datasetsIngest, WorkspaceTests.bob)
        ) { _, _ in }
        #expect(try spent(again, WorkspaceTests.fraud) == .double(9))
        #expect(try spent(again, .default) == .double(10))
    }

    @Test("a deletion takes what is in its workspace, rows included, and nothing else")
    func deletion() async throws {
        let shop = try await shop()
        let grant = try Workshop.may(.resourcesApply, WorkspaceTests.bob)
        _ = try await shop.applying.delete(
            "Dataset", "clicks", environment: nil, cascade: true, data: true, isRehearsal: false, by: grant)
        #expect(try await shop.modules.data.holding(ResourceRef("Dataset", "clicks", in: WorkspaceTests.fraud)) == DatasetService.Holding())
        #expect(try spent(shop, .default) == .double(10))
        #expect(throws: KeelError.self) { try spent(shop, WorkspaceTests.fraud) }
        #expect(try await shop.modules.triggers.list(grant: Workshop.may(.pipelinesRead)).count == 1)
        let again = try await restart(shop)
        #expect(try spent(again, .default) == .double(10))
        #expect(try await shop.modules.data.seal(dataset: "clicks", grant: Workshop.may(.datasetsIngest))?.rowCount == 1)
    }

    @Test("who manages one workspace takes no backup and does not see the others")
    func server() async throws {
        let shop = try await shop()
        let backups = BackingUp(database: shop.modules.database, damage: shop.damage, home: shop.folder)
        await #expect(throws: KeelError.self) { try await backups.backup(Workshop.may(.storageBackup, WorkspaceTests.bob)) }
        #expect(try Workshop.may(.serverRead).seesAllWorkspaces)
        #expect(try !Workshop.may(.serverRead, WorkspaceTests.bob).seesAllWorkspaces)
        #expect(try !Workshop.may(.serverRead, Caller(name: "dan", persona: .dataScientist)).seesAllWorkspaces)
    }
}

/// The content of a file, as the parts of a request.
/// A file in one part.
struct Parts: AsyncSequence, Sendable {
    let path: String

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: [UInt8]?
        mutating func next() async throws -> [UInt8]? {
            defer { rest = nil }
            return rest
        }
    }
    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: FileManager.default.contents(atPath: path).map { Array($0) }) }
}
