import ArgumentParser
import Console
import Contracts
import Engines
import Foundation
import HTTPTypes
import Hummingbird
import InferenceAPI
import InferenceRPC
import KeelAPI
import Logging
import MLflowAPI
import Platform
import ServiceLifecycle
import WebAPI

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start the server.",
        discussion: """
            On loopback the programs of the server's own user need no token, unless auth.local is off. On any other address the server starts
            only when tokens exist.
            Examples:
              keel serve
              keel serve --home /var/lib/keel --listen 0.0.0.0:7070 --config keel.yaml
              KEEL_TLS_CERTIFICATE=server.pem KEEL_TLS_KEY=server.key keel serve
            """)
    @Option(help: "The folder that holds everything (KEEL_HOME; default .keel).") var home: String?
    @Option(help: "HOST:PORT (KEEL_LISTEN; default 127.0.0.1:7070).") var listen: String?
    @Option(help: "A YAML file of settings.") var config: String?

    func run() async throws {
        var overrides: [String: String] = [:]
        overrides["home"] = home
        overrides["listen"] = listen
        let configuration = try KeelConfiguration.load(file: config, environment: ProcessInfo.processInfo.environment, overrides: overrides)
        var logger = Logger(label: "keel") { StreamLogHandler(label: $0, stream: LogLines()) }
        logger.logLevel = Logger.Level(rawValue: configuration.logLevel) ?? .info
        // A write beyond the limit on file sizes then fails as an error; by default the signal ends the process.
        signal(SIGXFSZ, SIG_IGN)
        // Files that the server makes are readable by its own user alone.
        umask(0o077)
        ProcessMemory.keepLittle()
        let server = try await Server(configuration: configuration, descriptors: FileDescriptors.raiseLimit(), logger: logger)
        try await server.run()
    }
}

/// Every API on one port, over one platform.
struct Server {
    let platform: Platform
    let logger: Logger
    let tls: ServerTLS?
    private let connections: ConnectionLimiter

    /// - Parameter descriptors: how many file descriptors the process has.
    init(configuration: KeelConfiguration, descriptors: Int, logger: Logger) async throws {
        self.logger = logger
        let connectionsMax = FileDescriptors.connectionsMax(configuration.connectionsMax, of: descriptors)
        if connectionsMax < configuration.connectionsMax {
            logger.warning(
                "connections.max is \(configuration.connectionsMax), but the system gives this process \(descriptors) file descriptors: \(connectionsMax) connections at a time are taken; raise the limit (ulimit -n, LimitNOFILE of systemd)"
            )
        }
        if let problem = ListenQueue.problem(systemMax: ListenQueue.systemMax(), connectionsMax: connectionsMax) {
            logger.warning("\(problem.message); \(problem.hint ?? "")")
        }
        connections = ConnectionLimiter(total: connectionsMax, perClient: configuration.clientConnectionsMax)
        tls = try configuration.tls.map { try ServerTLS($0) }
        platform = try await Platform(configuration: configuration, logger: logger)
        try await platform.isolateSteps()
        let tokens = try await platform.tokens.list(by: try Grant.check(Caller(name: "keel serve", persona: .owner), may: .tokensManage))
        guard Server.trustsOwner(configuration) || tokens.contains(where: { $0.revokedAt == nil }) || !configuration.issuers.isEmpty else {
            throw KeelError(
                .failedPrecondition,
                configuration.isLoopback
                    ? "auth.local is off, and no token exists"
                    : "\(configuration.host) is reachable from other machines, and no token exists",
                hint: "start once on 127.0.0.1 with auth.local: on and make one: keel tokens create NAME --persona owner")
        }
    }

    /// Whether programs of the server's own user need no token.
    private static func trustsOwner(_ configuration: KeelConfiguration) -> Bool {
        configuration.isLoopback && configuration.trustsLocalOwner
    }

    func run() async throws {
        let configuration = platform.configuration
        let trustsOwner = Server.trustsOwner(configuration)
        let gate = RequestGate(
            tokens: platform.tokens, authenticators: [platform.openID], policy: platform.policy, audit: platform.audit,
            owner: trustsOwner ? LocalOwner(acceptsAnyType: [pageUploadPath], acceptsNoType: "/v2/") : nil,
            hosts: (configuration.hosts + [configuration.host]).filter { $0 != "0.0.0.0" }, sessions: BrowserSessions(prefix: "/console"))
        let runtime = platform.runtime
        let console = try Console(platform: platform, gate: gate, vendor: Server.consoleVendor())
        let (router, open) = Server.router(platform, gate: gate, console: console, connections: connections)
        let application = Application(
            router: router,
            server: .keel(
                ServerChannel.Options(
                    gate: gate, open: open, connections: connections, memory: platform.memory, tls: tls,
                    hotHandlers: { [InferenceHandler(runtime: runtime, gate: gate, connection: $0, logger: logger)] },
                    http2Handlers: { inferenceRPCHandlers(runtime: runtime, gate: gate, version: KeelVersion.text, connection: $0, watch: $1) })),
            configuration: .init(
                address: .hostname(configuration.host, port: configuration.port), serverName: "keel", backlog: ListenQueue.length),
            onServerRunning: { _ in
                logger.notice("keel \(KeelVersion.text) serves \(configuration.url) (HTTP, and inference over gRPC), home \(configuration.home)")
                logger.notice("the console: \(configuration.url)/console")
                if trustsOwner {
                    logger.notice("programs of this user on this machine need no token; behind a proxy on this machine set auth.local: off")
                }
            },
            logger: logger)
        // Requests stop first, then background work: what was answered is logged, joined and on the disk before the process ends.
        let background = Task { [platform, tls, logger] in
            async let follow: Void? = tls?.follow(logger)
            async let pages: Void = console.run()
            await platform.run()
            _ = await follow
            await pages
        }
        let deadline = ShutdownDeadline(duration: configuration.shutdownDeadline, logger: logger) { runtime.log.counters.queued }
        var groupConfiguration = ServiceGroupConfiguration(
            services: [
                .init(service: application, successTerminationBehavior: .gracefullyShutdownGroup),
                .init(service: PagesAtShutdown(console: console), successTerminationBehavior: .ignore),
                .init(service: deadline, successTerminationBehavior: .ignore),
            ],
            gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        // Half of the time is for clients to take their answers; then their connections are cut.
        groupConfiguration.maximumGracefulShutdownDuration = .microseconds(configuration.shutdownDeadline.microseconds / 2)
        do { try await ServiceGroup(configuration: groupConfiguration).run() } catch  where !deadline.hasBegun {
            background.cancel()
            throw KeelError(
                .unavailable, "could not serve on \(configuration.host):\(configuration.port): \(error)",
                hint: "is another server listening there?")
        } catch { logger.warning("connections that did not end were cut") }
        try await platform.shutdown()
        background.cancel()
        logger.notice("stopped; everything that was accepted is stored")
    }

    /// The folder of htmx and ECharts; nil when they are not installed.
    static func consoleVendor() -> String? {
        let executable = EngineLocator.process.executable
        return ConsoleVendor.folder(
            environment: ProcessInfo.processInfo.environment, workingDirectory: FileManager.default.currentDirectoryPath, executable: executable,
            installation: Installation.process?.folder)
    }

    /// Every route, and those that need no caller: `/health`, which load balancers ask, the addresses of upload parts, which are themselves the
    /// permission, and of the console signing in and what is the same for everyone.
    static func router(_ platform: Platform, gate: RequestGate, console: Console, connections: ConnectionLimiter) -> (Router<KeelContext>, OpenRoutes) {
        let router = Router(context: KeelContext.self)
        let routes = APIRoutes(router)
        router.add(middleware: CorrelationMiddleware())
        router.add(middleware: RequestMemoryMiddleware())
        router.add(middleware: ErrorMiddleware())
        routes.noteOpen(HealthHandler.route.method, HealthHandler.route.path)
        router.add(middleware: MLflowErrorMiddleware())
        router.add(middleware: InferenceErrorMiddleware())
        router.add(middleware: ConsoleErrorMiddleware(console))
        addUploadPartRoutes(to: router, tracking: platform.tracking)
        addOpenConsoleRoutes(to: routes, console)
        let open = OpenRoutes([HealthHandler.route] + registered(router))
        router.add(middleware: AuthenticationMiddleware(gate: gate))
        addKeelRoutes(to: routes, platform: platform, connections: connections)
        addInferenceRoutes(to: routes, runtime: platform.runtime, version: KeelVersion.text)
        addDocumentRoute(to: routes, version: KeelVersion.text, others: inferenceOperations)
        addMLflowRoutes(
            to: routes, tracking: platform.tracking, registry: platform.registry, webhooks: platform.webhooks,
            workspaces: platform.workspaces)
        addConsoleRoutes(to: routes, console)
        // The router's own list: a test calls each route without a permission and with too small a one.
        let listed = ([HealthHandler.route] + registered(router)).map { route -> JSON in
            ["method": .string(route.method.rawValue), "path": .string(route.path)]
        }
        routes.get("/api/v1/routes", .serverRead) { _, _, _ -> Response in
            Response(
                status: .ok, headers: [.contentType: "application/json"],
                body: ResponseBody(byteBuffer: ByteBuffer(bytes: JSON.array(listed).bytes)))
        }
        router.add(middleware: UnmatchedMiddleware(routes: registered(router) + InferenceHandler.routes + [HealthHandler.route]))
        return (router, open)
    }

    private static func registered(_ router: Router<KeelContext>) -> [(method: HTTPRequest.Method, path: String)] {
        router.routes.map { ($0.method, $0.path.description) }
    }
}

/// Open pages listen for as long as they are open: the server ends that when it is asked to stop, before it waits for its answers to end.
private struct PagesAtShutdown: Service {
    let console: Console

    func run() async throws {
        try await gracefulShutdown()
        console.close()
    }
}
