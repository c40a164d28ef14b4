// swift-tools-version:6.1
import PackageDescription

// Layers from the foundation up; a target imports only layers below its own (docs/architecture.md, checked by Tests/ArchitectureTests).
let package = Package(
    name: "keel",
    // For Benchmarks/Trees.
    products: [.library(name: "Engines", targets: ["Engines"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-atomics", from: "1.3.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.0"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // foundation
        .target(name: "Contracts", dependencies: [.product(name: "Crypto", package: "swift-crypto")]),
        .target(name: "Expressions", dependencies: ["Contracts"]),
        .target(name: "Statistics", dependencies: ["Contracts"]),
        .target(name: "Importing", dependencies: ["Contracts", .product(name: "Crypto", package: "swift-crypto")]),
        // engines
        .target(name: "CDuckDB", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "COnnxRuntime", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "CGradientBoosting", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "CRE2", linkerSettings: [.linkedLibrary("re2")]),
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "Engines", dependencies: ["Contracts", "CDuckDB", "COnnxRuntime", "CGradientBoosting", "CZlib", "CRE2"]),
        .target(name: "CSupervisor"),
        .target(name: "Workers", dependencies: ["Contracts", "CSupervisor"], resources: [.embedInCode("Worker/worker.py")]),
        // storage
        .target(name: "CPostgres", linkerSettings: [.linkedLibrary("dl")]),
        .target(
            name: "Storage",
            dependencies: [
                "Contracts", "CPostgres", .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
            ]),
        // domain: modules never import each other
        .target(name: "Governance", dependencies: ["Contracts", "Storage"]),
        .target(name: "Datasets", dependencies: ["Contracts", "Expressions", "Statistics", "Engines", "Storage"]),
        .target(name: "FeatureStore", dependencies: ["Contracts", "Expressions", "Engines", "Storage"]),
        .target(name: "Tracking", dependencies: ["Contracts", "Importing", "Storage"]),
        .target(name: "Registry", dependencies: ["Contracts", "Importing", "Storage"]),
        .target(name: "Pipelines", dependencies: ["Contracts", "Storage", "CSupervisor", "Workers"]),
        .target(
            name: "Serving",
            dependencies: [
                "Contracts", "Expressions", "Statistics", "Engines", "Storage", "Workers", .product(name: "Atomics", package: "swift-atomics"),
            ]),
        .target(name: "Monitoring", dependencies: ["Contracts", "Expressions", "Statistics", "Storage"]),
        // workflows
        .target(
            name: "Workflows",
            dependencies: [
                "Contracts", "Expressions", "Statistics", "Engines", "Storage", "Governance", "Datasets", "FeatureStore", "Tracking",
                "Registry", "Pipelines", "Serving", "Monitoring", .product(name: "Logging", package: "swift-log"),
            ]),
        .target(
            name: "Outgoing",
            dependencies: [
                "Contracts", "Registry", .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ]),
        .target(
            name: "OpenIDConnect",
            dependencies: [
                "Contracts", "Governance", "Outgoing", .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "CryptoExtras", package: "swift-crypto"),
            ]),
        .target(name: "TraceExport", dependencies: ["Contracts", "Serving", "Outgoing"]),
        .target(name: "RemoteInference", dependencies: ["Contracts", "Serving", "Outgoing"]),
        // composition
        .target(
            name: "Platform",
            dependencies: [
                "Contracts", "Statistics", "Engines", "Storage", "Governance", "Datasets", "FeatureStore", "Tracking", "Registry",
                "Pipelines",
                "Serving", "Monitoring", "Workers", "Workflows", "Outgoing", "OpenIDConnect", "TraceExport", "RemoteInference",
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Logging", package: "swift-log"), "Yams",
            ]),
        // web
        .target(
            name: "WebAPI",
            dependencies: [
                "Contracts", "Governance", "Platform", "Workers", .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"), .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"), .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ]),
        // api: what several APIs read
        .target(name: "SearchLanguage", dependencies: ["Contracts", "Tracking", "Registry"]),
        // api
        .target(
            name: "MLflowAPI",
            dependencies: [
                "Contracts", "Storage", "Governance", "Tracking", "Registry", "SearchLanguage", "WebAPI",
                .product(name: "Hummingbird", package: "hummingbird"), .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        .target(
            name: "InferenceAPI",
            dependencies: [
                "Contracts", "Engines", "Serving", "WebAPI", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"), .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOHTTP1", package: "swift-nio"),
            ]),
        .target(
            name: "InferenceRPC",
            dependencies: [
                "Contracts", "Engines", "Serving", "WebAPI", "InferenceAPI", .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOHPACK", package: "swift-nio-http2"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
            ]),
        .target(
            name: "KeelAPI",
            dependencies: [
                "Contracts", "Importing", "Storage", "Governance", "Datasets", "FeatureStore", "Tracking", "Registry", "Pipelines",
                "Serving", "Monitoring", "Workflows", "Platform", "SearchLanguage", "WebAPI",
                .product(name: "Hummingbird", package: "hummingbird"), .product(name: "HTTPTypes", package: "swift-http-types"),
            ]),
        .target(
            name: "Console",
            dependencies: [
                "Contracts", "Storage", "Governance", "Datasets", "FeatureStore", "Tracking", "Registry", "Pipelines", "Serving", "Monitoring",
                "Workflows", "Platform", "SearchLanguage", "WebAPI", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"), .product(name: "Mustache", package: "swift-mustache"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            resources: [.embedInCode("Templates"), .embedInCode("Assets")]),
        // command line
        .target(
            name: "KeelClient",
            dependencies: [
                "Contracts", .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOTLS", package: "swift-nio"),
            ]),
        .target(name: "Plotting", dependencies: ["Contracts", "Engines"]),
        .target(name: "MLflowImport", dependencies: ["Contracts", "Importing", "Storage", "Tracking", "Registry", "KeelClient"]),
        .executableTarget(
            name: "keel",
            dependencies: [
                "Contracts", "Expressions", "Engines", "Storage", "Workflows", "Platform", "WebAPI", "MLflowImport", "Plotting", "MLflowAPI",
                "InferenceAPI", "InferenceRPC", "KeelAPI", "Console", "KeelClient", "Workers", "Yams",
                .product(name: "ArgumentParser", package: "swift-argument-parser"), .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"), .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]),
        // tests
        .target(name: "TestSupport", dependencies: ["Storage"], path: "Tests/TestSupport"),
        .target(name: "CFuzzCoverage", path: "Tests/FuzzCoverage"),
        .executableTarget(
            name: "keel-fuzz",
            dependencies: [
                "CFuzzCoverage", "Contracts", "Datasets", "Engines", "Expressions", "InferenceAPI", "InferenceRPC", "MLflowAPI", "OpenIDConnect", "Outgoing",
                "Pipelines", "Platform", "SearchLanguage", "Serving", "Storage", "TestSupport", "WebAPI", "Workers", "Workflows",
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            path: "Tests/Fuzz", exclude: ["README.md"]),
        .testTarget(name: "ContractsTests", dependencies: ["Contracts", "TestSupport"]),
        .testTarget(name: "ExpressionsTests", dependencies: ["Expressions", "TestSupport"]),
        .testTarget(name: "StatisticsTests", dependencies: ["Statistics", "TestSupport"]),
        .testTarget(name: "ImportingTests", dependencies: ["Importing"]),
        .testTarget(name: "EnginesTests", dependencies: ["Engines", "Expressions", "TestSupport"]),
        .testTarget(name: "StorageTests", dependencies: ["Storage", "TestSupport"]),
        .testTarget(name: "PostgresTests", dependencies: ["Contracts", "Platform", "Storage", "TestSupport"]),
        .testTarget(name: "GovernanceTests", dependencies: ["Governance", "TestSupport"]),
        .testTarget(name: "DatasetsTests", dependencies: ["Datasets", "Statistics", "TestSupport"]),
        .testTarget(name: "FeatureStoreTests", dependencies: ["FeatureStore", "TestSupport"]),
        .testTarget(name: "TrackingTests", dependencies: ["Tracking", "SearchLanguage", "TestSupport"]),
        .testTarget(name: "RegistryTests", dependencies: ["Registry", "SearchLanguage", "TestSupport"]),
        .testTarget(name: "PipelinesTests", dependencies: ["Pipelines", "TestSupport", "Workers"]),
        .testTarget(name: "WorkersTests", dependencies: ["Workers", "TestSupport"]),
        .testTarget(name: "ServingTests", dependencies: ["Serving", "Registry", "TestSupport", "Workers"]),
        .testTarget(name: "MonitoringTests", dependencies: ["Monitoring", "Statistics", "TestSupport"]),
        .testTarget(
            name: "WorkflowsTests", dependencies: ["Workflows", "Engines", "Pipelines", "TestSupport", "Workers", .product(name: "Logging", package: "swift-log")]),
        .testTarget(
            name: "PlatformTests",
            dependencies: [
                "Platform", "OpenIDConnect", "Pipelines", "Workers", "Workflows", .product(name: "Logging", package: "swift-log"),
            ]),
        .testTarget(
            name: "OutgoingTests",
            dependencies: [
                "Outgoing", "Registry", .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]),
        .testTarget(
            name: "RemoteInferenceTests",
            dependencies: [
                "RemoteInference", "Outgoing", "Serving", "TestSupport", .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ]),
        .testTarget(
            name: "OpenIDConnectTests",
            dependencies: [
                "OpenIDConnect", "Governance", "TestSupport", .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "CryptoExtras", package: "swift-crypto"),
            ]),
        .testTarget(
            name: "TraceExportTests",
            dependencies: [
                "TraceExport", "Outgoing", "Serving", .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]),
        .testTarget(
            name: "WebAPITests",
            dependencies: [
                "WebAPI", .product(name: "HummingbirdTesting", package: "hummingbird"), .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ]),
        .testTarget(name: "MLflowAPITests", dependencies: ["MLflowAPI", "Governance", .product(name: "HummingbirdTesting", package: "hummingbird")]),
        .testTarget(name: "InferenceAPITests", dependencies: ["InferenceAPI", "TestSupport"]),
        .testTarget(
            name: "InferenceRPCTests",
            dependencies: ["InferenceRPC", "InferenceAPI", "Serving", "TestSupport", .product(name: "NIOCore", package: "swift-nio")]),
        .testTarget(name: "SearchLanguageTests", dependencies: ["SearchLanguage", "TestSupport"]),
        .testTarget(
            name: "KeelAPITests",
            dependencies: [
                "KeelAPI", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
            ]),
        .testTarget(
            name: "ConsoleTests",
            dependencies: ["Console", "WebAPI", .product(name: "HTTPTypes", package: "swift-http-types")]),
        .testTarget(
            name: "KeelClientTests",
            dependencies: [
                "KeelClient", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
            ]),
        .testTarget(
            name: "MLflowImportTests",
            dependencies: [
                "MLflowImport", "KeelAPI", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
            ]),
        .testTarget(name: "PlottingTests", dependencies: ["Plotting"]),
        .testTarget(name: "keelTests", dependencies: ["keel", "TestSupport"]),
        .testTarget(name: "ArchitectureTests"),
    ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)

// Most tests are not optimised: that was half of the time to build them. The oracle of the feature store computes for minutes.
for target in package.targets where target.type == .test && target.name != "FeatureStoreTests" {
    target.swiftSettings = [.unsafeFlags(["-Onone"])]
}
