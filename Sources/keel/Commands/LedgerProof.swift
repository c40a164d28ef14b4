import ArgumentParser
import Contracts
import Foundation
import KeelClient
import Storage

extension LedgerCommand {
    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read the whole chain and name the first event that was altered, removed or moved.",
            discussion: """
                With a checkpoint that was exported before, this command reads every event up to it and computes the chain itself, without trusting the
                server: so it finds a chain that was altered and computed anew. With --home it reads the home folder of a server that is stopped.
                Examples:
                  keel ledger verify
                  keel ledger verify --checkpoint may.json --public-key keel-ledger.pub
                  keel ledger verify --checkpoint may.json --home /var/lib/keel
                """)
        @Option(help: "A file that 'keel ledger checkpoint --export' wrote.") var checkpoint: String?
        @Option(help: "A file with the public key that must have signed the checkpoint.") var publicKey: String?
        @Option(help: "The home folder of a stopped server, to verify without one.") var home: String?
        @OptionGroup var connection: Connection

        func run() async throws {
            let checkpoint = try checkpoint.map { try LedgerCheckpoint(json: JSON.parse(Array(try read($0)))) }
            if let publicKey, let checkpoint {
                let expected = String(decoding: try read(publicKey), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
                guard checkpoint.publicKey == expected else {
                    throw KeelError(
                        .corrupted, "the checkpoint was signed with another key", hint: "compare the files with those of the auditor")
                }
            } else if publicKey != nil {
                throw KeelError.invalid("--public-key says who signed a checkpoint", hint: "give the checkpoint with --checkpoint FILE")
            }
            let answer = if let home { try await verify(home: home, checkpoint) } else { try await verify(checkpoint) }
            connection.show(answer) { answer in
                if let problem = answer["problem"]?.string {
                    Terminal.print("BROKEN at event \(answer.cell("seq")): \(problem)")
                } else {
                    let signed = checkpoint.map { "; up to event \($0.seq) it is the one that was signed at \($0.at)" } ?? ""
                    Terminal.print("\(answer.cell("events")) events, unbroken; head \(String(answer.cell("head").prefix(12)))\(signed)")
                }
            }
            if answer["problem"]?.string != nil { throw ExitCode(1) }
        }

        private func read(_ file: String) throws -> Data {
            guard let data = FileManager.default.contents(atPath: file) else { throw KeelError.notFound("there is no file '\(file)'") }
            return data
        }

        /// Asks the server; with a checkpoint, computes the chain up to it from the server's events.
        private func verify(_ checkpoint: LedgerCheckpoint?) async throws -> JSON {
            guard let checkpoint else { return try await connection.get("/api/v1/ledger/verify") }
            let client = try connection.client()
            var chain = LedgerChain()
            while chain.count < checkpoint.seq, chain.broken == nil {
                let page = try await client.json(.GET, "/api/v1/ledger?after=\(chain.count)&limit=1000&raw=true&all=true")
                let events = try (page["events"]?.items ?? []).map { try LedgerEvent(json: $0) }.filter { $0.seq <= checkpoint.seq }
                if events.isEmpty { break }
                for event in events { chain.add(event) }
            }
            return result(chain.count, chain.head, chain.broken, checkpoint, hash: chain.count == checkpoint.seq ? chain.head : nil)
        }

        private func verify(home path: String, _ checkpoint: LedgerCheckpoint?) async throws -> JSON {
            guard FileManager.default.fileExists(atPath: path + "/keel.sqlite") else {
                throw KeelError.notFound("'\(path)' is not a home folder")
            }
            let home = try Home(path, user: "keel ledger verify")
            let database = try Database(path: home.path + "/keel.sqlite")
            let (found, hash) = try await database.read { db in
                (try db.verifyLedger(), try checkpoint.flatMap { try db.ledgerHash($0.seq) })
            }
            try await database.close()
            return result(found.events, found.head, found.broken, checkpoint, hash: hash)
        }

        private func result(_ events: Int64, _ head: String, _ broken: Ledger.Break?, _ checkpoint: LedgerCheckpoint?, hash: String?)
            -> JSON
        {
            var answer: JSON = ["events": .int(events), "head": .string(head)]
            if let broken {
                answer["seq"] = .int(broken.seq)
                answer["problem"] = .string(broken.problem)
            } else if let checkpoint, let problem = checkpoint.problem(withHash: hash) {
                answer["seq"] = .int(checkpoint.seq)
                answer["problem"] = .string(problem)
            }
            return answer
        }
    }

    struct Checkpoint: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sign the ledger as it ends now, so that any later change to what is in it is found.",
            discussion: """
                The server signs the ledger by itself too, every 1,000 events and when it stops. Keep an exported checkpoint where the server cannot write.
                Example: keel ledger checkpoint --export may.json --export-key keel-ledger.pub
                """)
        @Option(help: "Write the checkpoint to this file.") var export: String?
        @Option(help: "Write the public key that signs checkpoints to this file.") var exportKey: String?
        @OptionGroup var connection: Connection

        func run() async throws {
            let answer = try await connection.get("/api/v1/ledger/checkpoint")
            let checkpoint = try LedgerCheckpoint(json: answer)
            if let export { try write(answer.pretty + "\n", to: export) }
            if let exportKey { try write(checkpoint.publicKey + "\n", to: exportKey) }
            connection.show(answer) { _ in
                Terminal.print("event \(checkpoint.seq), hash \(checkpoint.hash.prefix(12)), signed at \(checkpoint.at)")
            }
        }

        private func write(_ text: String, to file: String) throws {
            do { try Data(text.utf8).write(to: URL(fileURLWithPath: file), options: .atomic) } catch {
                throw KeelError(.unavailable, "cannot write the file '\(file)'")
            }
        }
    }
}
