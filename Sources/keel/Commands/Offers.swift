import ArgumentParser
import Contracts
import KeelClient
import NIOHTTP1

struct Offers: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give model versions to other workspaces: one side offers, the other accepts.",
        discussion: """
            Both sides need models.share in their workspace. An offer stands for 30 days. What is accepted is a new version with the same files and the
            same evidence; who approved it there has not approved it here.
            Examples:
              keel offers make models:/churn/3 --to production-team --workspace research
              keel offers --workspace production-team
              keel offers accept 06b1… --workspace production-team
            """, subcommands: [List.self, Show.self, Make.self, Accept.self, Close.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the offers that the workspace made, and those made to it.")
        @OptionGroup var connection: Connection

        func run() async throws {
            connection.show(try await connection.get("/api/v1/offers")) { answer in
                Terminal.table(
                    ["id", "version", "from", "to", "state", "offered", "by", "accepted as"],
                    (answer["offers"]?.items ?? []).map { offer in
                        [
                            offer.cell("id"), "models:/\(offer.cell("model"))/\(offer.cell("version"))", offer.cell("from"), offer.cell("to"),
                            offer.cell("state"), offer.cell("offered_at"), offer.cell("offered_by"), offer.cell("accepted_as"),
                        ]
                    })
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show an offer: the version, and what Keel recorded of it.")
        @Argument(help: "The offer's id.") var id: String
        @OptionGroup var connection: Connection

        func run() async throws {
            connection.show(try await connection.get("/api/v1/offers/\(escaped(id))")) { answer in
                let offer = answer["offer"] ?? .null
                Terminal.print("models:/\(offer.cell("model"))/\(offer.cell("version")) of the workspace \(offer.cell("from")), \(offer.cell("state"))")
                if let note = offer["note"]?.string, !note.isEmpty { Terminal.print(note) }
                guard let gate = answer["evidence"]?["gate"] else { return Terminal.print("Keel did not train it") }
                Terminal.print("gate: \(gate.cell("verdict"))")
                Terminal.print("trained until \(answer["evidence"]?["training"]?["data"]?.cell("until") ?? "")")
            }
        }
    }

    struct Make: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let another workspace have a version.")
        @Argument(help: "The version, as models:/NAME/VERSION.") var version: String
        @Option(help: "The workspace that may accept it.") var to: String
        @Option(help: "What to tell the other side.") var note: String?
        @OptionGroup var connection: Connection

        func run() async throws {
            let parts = version.hasPrefix("models:/") ? version.dropFirst("models:/".count).split(separator: "/").map(String.init) : []
            guard parts.count == 2, Int(parts[1]) != nil else {
                throw KeelError.invalid("'\(version)' is not models:/NAME/VERSION", hint: "an offer names one version by its number", path: "version")
            }
            var body: JSON = ["workspace": .string(to)]
            if let note { body["note"] = .string(note) }
            let answer = try await connection.post("/api/v1/models/\(escaped(parts[0]))/versions/\(parts[1])/offers", body)
            connection.show(answer) { offer in
                Terminal.print("offer \(offer.cell("id")) stands until \(offer.cell("expires_at")): keel offers accept \(offer.cell("id")) --workspace \(to)")
            }
        }
    }

    struct Accept: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take an offered version over.")
        @Argument(help: "The offer's id.") var id: String
        @Option(help: "The model here; the offered one's name unless given.") var model: String?
        @OptionGroup var connection: Connection

        func run() async throws {
            let answer = try await connection.post("/api/v1/offers/\(escaped(id))/accept", model.map { ["model": .string($0)] } ?? [:])
            connection.show(answer) { Terminal.print("it is \($0.cell("uri")) here") }
        }
    }

    struct Close: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Withdraw an offer of one's own, or decline one.")
        @Argument(help: "The offer's id.") var id: String
        @OptionGroup var connection: Connection

        func run() async throws {
            let answer = try await connection.client().json(.DELETE, "/api/v1/offers/\(escaped(id))")
            connection.show(answer) { Terminal.print("the offer is \($0.cell("state"))") }
        }
    }
}
