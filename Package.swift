// swift-tools-version:6.1
import PackageDescription

let package = Package(
    name: "keel",
    dependencies: [
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    ],
    targets: [
        .target(name: "Contracts", dependencies: [.product(name: "Crypto", package: "swift-crypto")]),
        .target(name: "CDuckDB", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "COnnxRuntime", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "CGradientBoosting", linkerSettings: [.linkedLibrary("dl")]),
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "Engines", dependencies: ["Contracts", "CDuckDB", "COnnxRuntime", "CGradientBoosting", "CZlib"]),
        .target(name: "Storage", dependencies: ["Contracts", .product(name: "GRDB", package: "GRDB.swift")]),
        .target(name: "DataEstate", dependencies: ["Contracts", "Engines", "Storage"]),
        .testTarget(name: "DataEstateTests", dependencies: ["DataEstate"]),
    ],
    swiftLanguageModes: [.v6]
)
