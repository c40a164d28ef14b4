import ArgumentParser
import Contracts
import Foundation
import KeelClient

@main
struct FlightsExample: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flights-replay", abstract: "The flights of 2013 against a running Keel server.",
        subcommands: [Replay.self, Report.self])
}

/// Replays a stretch of 2013 through a running server over HTTP, in event time: pushes every fact at the instant it became known, asks for a
/// prediction at every scheduled departure, and posts the label when the aircraft has landed.
///
/// While a pipeline trains, the replay waits: a training of seconds must not cost weeks of event time.
struct Replay: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Replay a stretch of the year in event time.")
    @Option(help: "The server's address.") var url = ProcessInfo.processInfo.environment["KEEL_URL"] ?? "http://127.0.0.1:7070"
    @Option(help: "The folder of flights.csv and weather.csv.") var data: String
    @Option(help: "The first instant.") var from: String
    @Option(help: "The instant before which it ends.") var until: String
    @Option(help: "The endpoints to ask, each for every flight.") var endpoint: [String] = ["delay"]

    func run() async throws {
        guard let start = Timestamp(from), let end = Timestamp(until) else {
            throw ValidationError("--from and --until are instants such as 2013-04-01")
        }
        let history = try FlightHistory(folder: data, from: start, until: end)
        let token = ProcessInfo.processInfo.environment["KEEL_TOKEN"]
        var session = try ReplaySession(history: history, url: url, token: token, endpoints: endpoint)
        try await session.run(from: start, until: end)
        print(session.summary)
    }
}
